"""Correct estimates of F1 for a shift of the products, or say that nothing supports an estimate.

Confidences are calibrated on the held-out products of a release, and wrong for products unlike
them. A classifier that separates both by their probabilities (black box shift detection; Lipton,
Wang and Smola, "Detecting and Correcting for Label Shift with Black Box Predictors", 2018) says how
unlike they are, and its odds are the weights with which the held-out products stand for the others
(Bickel, Brückner and Scheffer, "Discriminative Learning Under Covariate Shift", 2009). On the held-
out products the truth is known: what the estimate is off there, with these weights, corrects it
(Angelopoulos et al., "Prediction-Powered Inference", 2023; NannyML's PAPE weights the calibration
likewise: Białek et al., "Estimating Model Performance Under Covariate Shift Without Labels", 2024).

Weights move the evidence to where the products are now, and cannot make evidence. Where too few
held-out products are like them, or too many products look foreign, there is no estimate.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shared.inference.releases.novelty import FOREIGN_FROM, SMALLEST
from trainer.monitoring.performance.cbpe import NORMAL_95, Estimate
from trainer.monitoring.two_samples import compare_shares, domain_classifier_test
from trainer.reference.sample import FLOOR

Floats = NDArray[np.float64]
Columns = NDArray[np.int64]

#: Answers that are compared with the held-out ones; more add little.
MOST_COMPARED = 1_500
#: Fewest answers, and fewest held-out ones, that can be compared.
LEAST_ROWS = 100
#: Bootstrap resamples of the held-out rows; the deviation varies by a twentieth.
RESAMPLES = 200
#: Largest weight of a held-out product, so that no single one decides the correction.
MOST_WEIGHT = 20.0
#: Significance level of a difference, as of drift.
P_VALUE = 0.001
#: Effect (`2 AUC - 1`) from which on the products are too unlike the held-out ones, and rise of the
#: share that look foreign (Cohen's h) from which on too many are.
MOST_EFFECT, MOST_FOREIGN = 0.45, 0.2
#: Standard deviation of what the weights leave, as a share of the effect.
REMAINDER = 0.1


class Reason(StrEnum):
    """Reason why F1 cannot be estimated."""

    #: The products differ too much from the held-out ones.
    UNLIKE = "unlike"
    #: Too many products may belong to none of the categories.
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Known:
    """Held-out answers of a release.

    Attributes:
        probabilities: Shape `(rows, classes)`.
        truth: Column of the true category, shape `(rows,)`; -1 for one that the release lacks.
    """

    probabilities: Floats
    truth: Columns


@dataclass(frozen=True)
class Shift:
    """Difference of some answers from the held-out ones, and what it means for their estimate.

    Attributes:
        reason: Why there is no estimate; `None` if there is one.
        effect: How well both can be separated, `2 AUC - 1`.
        foreign: Share of the answers that look more foreign than 95 % of the held-out ones.
        effective_rows: Number of equally weighted held-out rows with the same information.
        correction: Added to the estimated F1.
        deviation: Standard deviation of the correction.
    """

    reason: Reason | None
    effect: float
    foreign: float
    effective_rows: float
    correction: float
    deviation: float


def shift_of(known: Known, window: Floats) -> Shift | None:
    """Compare answers with the held-out ones.

    Args:
        known: The held-out answers.
        window: Probabilities, shape `(rows, classes)`; of many rows, evenly spaced ones count.

    Returns:
        `None` if there are too few rows of either.
    """
    if min(len(known.truth), len(window)) < LEAST_ROWS:
        return None
    spread = np.linspace(0, len(window) - 1, min(len(window), MOST_COMPARED)).astype(np.int64)
    held, now = _scaled(known.probabilities), _scaled(window[spread])
    compared = domain_classifier_test(_features(held), _features(now))
    odds = compared.reference / np.maximum(1 - compared.reference, SMALLEST)
    weights = np.minimum(odds / odds.mean(), MOST_WEIGHT)
    correction, deviation = _gap(replace(known, probabilities=held), weights)
    effect = compared.difference.effect
    foreign, is_foreign = _foreign(held, now)
    is_unlike = effect >= MOST_EFFECT and compared.difference.p_value <= P_VALUE
    return Shift(
        reason=Reason.UNLIKE if is_unlike else Reason.FOREIGN if is_foreign else None,
        effect=effect,
        foreign=foreign,
        effective_rows=float(weights.sum() ** 2 / (weights**2).sum()),
        correction=correction,
        deviation=float(np.hypot(deviation, REMAINDER * effect)),
    )


def corrected(estimate: Estimate, shift: Shift) -> Estimate:
    """Return the F1 of an estimate corrected, with an interval that covers the correction too."""
    f1 = float(np.clip(estimate.f1 + shift.correction, 0.0, 1.0))
    half = float(np.hypot((estimate.high - estimate.low) / 2, NORMAL_95 * shift.deviation))
    return replace(estimate, f1=f1, low=max(0.0, f1 - half), high=min(1.0, f1 + half))


def _gap(known: Known, weights: Floats) -> tuple[float, float]:
    """Return how much F1 is above its estimate on weighted rows, and the standard deviation."""
    classes = known.probabilities.shape[1]
    is_answer = _one_hot(known.probabilities.argmax(axis=1), classes)
    is_true = _one_hot(known.truth, classes)
    rows = len(weights)
    drawn = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), RESAMPLES)
    each = np.concatenate([np.ones((1, rows)), drawn]) * weights
    gaps = _f1(each, is_answer, is_true) - _f1(each, is_answer, known.probabilities)
    return float(gaps[0]), float(gaps[1:].std())


def _f1(weights: Floats, answered: Floats, true: Floats) -> Floats:
    """Return the weighted F1 of rows with each set of weights, shape `(sets,)`.

    Args:
        weights: Shape `(sets, rows)`.
        answered: 1 for the answered category, shape `(rows, classes)`.
        true: The same for the true one, or its probabilities.
    """
    support, predicted = weights @ true, weights @ answered
    total, correct = support + predicted, weights @ (answered * true)
    f1 = np.divide(2 * correct, total, out=np.zeros_like(total), where=total > 0)
    weighted: Floats = (f1 * support).sum(axis=1) / weights.sum(axis=1)
    return weighted


def _foreign(held: Floats, now: Floats) -> tuple[float, bool]:
    """Return the share of answers that look foreign, and True if it is far above the reference."""
    of_held, of_now = (_logs(rows, SMALLEST).mean(axis=1) for rows in (held, now))
    limit = np.quantile(of_held, FOREIGN_FROM)
    before, count = int((of_held > limit).sum()), int((of_now > limit).sum())
    rise = compare_shares(before, len(held), count, len(now))
    return count / len(now), rise.effect >= MOST_FOREIGN and rise.p_value <= P_VALUE


def _one_hot(columns: Columns, classes: int) -> Floats:
    chosen: Floats = (columns[:, None] == np.arange(classes)).astype(np.float64)
    return chosen


def _scaled(rows: NDArray[np.floating]) -> Floats:
    # A release stores its held-out probabilities in half precision.
    numbers = rows.astype(np.float16).astype(np.float64)
    scaled: Floats = numbers / numbers.sum(axis=1, keepdims=True)
    return scaled


def _features(rows: Floats) -> Floats:
    """Return the log-probabilities, and how sure and how spread the answers are.

    Less sure answers of all categories are no linear change of the log-probabilities alone.
    """
    logs = _logs(rows, FLOOR)
    largest = np.sort(logs, axis=1)[:, -2:]
    features: Floats = np.concatenate([logs, largest, logs.mean(axis=1, keepdims=True)], axis=1)
    return features


def _logs(rows: Floats, floor: float) -> Floats:
    logs: Floats = np.log(np.maximum(rows, floor))
    return logs
