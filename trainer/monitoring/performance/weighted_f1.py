"""F1 measured from labels, with a bootstrap interval over the labelled rows."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from trainer.monitoring.performance.cbpe import NORMAL_95, ClassF1, Estimate

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

#: From about a thousand resamples on, the bounds of an interval vary by less than a tenth of its
#: width (Efron & Tibshirani 1993, section 19.3).
RESAMPLES = 2_000
#: Resamples computed at once; bounds the memory.
AT_ONCE = 200
TAILS = (0.025, 0.975)
#: Most frequent wrong answers stored for each category.
MOST_CONFUSED = 3

#: Number of rows by true code, then by answered code.
Confusions = dict[int, dict[int, float]]


def measured_f1(
    truth: Codes,
    answered: Codes,
    weights: Floats | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Measure the weighted F1 of answers with known true categories.

    Args:
        truth: True codes, shape `(rows,)`.
        answered: Answered codes, shape `(rows,)`; a code that is in no row of `truth` is wrong.
        weights: Number of answers that each row represents, such as `1 / chance` of a sampled row
            (Hájek 1971: normalised, so that their sum need not be known). Equal by default.
        resamples: Number of bootstrap resamples (percentile interval, Efron & Tibshirani, "An
            Introduction to the Bootstrap", 1993, chapter 13).
        seed: Seed of the resampling; equal seeds give equal intervals.

    Raises:
        InvalidInput: No rows, arrays of different lengths, or a weight that is not above 0.
    """
    row_weights = np.ones(len(truth)) if weights is None else np.asarray(weights, np.float64)
    if not (len(truth) == len(answered) == len(row_weights) > 0) or not np.all(row_weights > 0):
        raise InvalidInput(
            "Expected an answer and a weight above 0 for each of at least one row. "
            f"Received: {len(truth)} rows, {len(answered)} answers, {len(row_weights)} weights"
        )
    # Equal rows are resampled together by their count: the same distribution at less cost.
    rows = np.stack([truth.astype(np.float64), answered.astype(np.float64), row_weights], axis=1)
    cells, counts = np.unique(rows, axis=0, return_counts=True)
    classes = np.unique(cells[:, :2])
    f1, support = _f1(cells, classes, counts[None])
    sampled_f1, sampled_class_f1 = _resample(cells, classes, counts, resamples, seed)
    effective_rows = row_weights.sum() ** 2 / (row_weights**2).sum()
    weighted = float(_weighted(f1, support)[0])
    by_class = {
        int(code): _class_f1(float(f1[0, column]), sampled_class_f1[:, column], truth == code)
        for column, code in enumerate(classes)
        if code in truth
    }
    return Estimate(weighted, *_bounds(sampled_f1, weighted, effective_rows), len(rows), by_class)


def by_code(estimate: Estimate, confused: Confusions | None = None) -> dict[str, Any]:
    """Return the categories of an estimate as stored: JSON keys are strings.

    Args:
        estimate: Estimate with its categories.
        confused: Rows by true and answered code; the most frequent wrong answers are stored as
            `taken_for`.
    """
    classes = {str(code): asdict(f1) for code, f1 in estimate.by_class.items()}
    for code, answers in (confused or {}).items():
        wrong = {answer: rows for answer, rows in answers.items() if answer != code and rows > 0}
        most = sorted(wrong, key=lambda answer: -wrong[answer])[:MOST_CONFUSED]
        if str(code) in classes and most:
            kept = {str(answer): round(wrong[answer], 2) for answer in most}
            classes[str(code)]["taken_for"] = kept
    return classes


def confusions(truth: Codes, answered: Codes) -> Confusions:
    """Count the rows by true and answered code."""
    pairs, counts = np.unique(np.stack([truth, answered], axis=1), axis=0, return_counts=True)
    counted: Confusions = {}
    for (code, answer), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        counted.setdefault(code, {})[answer] = float(count)
    return counted


def _f1(cells: Floats, classes: Floats, drawn: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return F1 and weight of each class in each draw, both of shape `(draws, classes)`.

    The F1 of a category is 2 correct / (true + answered); its weight is its number of true rows
    (van Rijsbergen 1979; the `weighted` average of scikit-learn).
    """
    true = (cells[:, :1] == classes).astype(np.float64)
    answered = (cells[:, 1:2] == classes).astype(np.float64)
    weight = drawn * cells[:, 2]
    support, predicted, correct = weight @ true, weight @ answered, weight @ (true * answered)
    total = support + predicted
    f1 = np.divide(2 * correct, total, out=np.zeros_like(total), where=total > 0)
    return f1, support


def _resample(
    cells: Floats, classes: Floats, counts: Codes, resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Return weighted F1 `(resamples,)` and class F1 `(resamples, classes)` of the bootstrap."""
    generator = np.random.default_rng(seed)
    rows = counts.sum()
    draws = [
        _f1(cells, classes, generator.multinomial(rows, counts / rows, size=size))
        for size in _sizes(resamples)
    ]
    weighted = np.concatenate([_weighted(f1, support) for f1, support in draws])
    return weighted, np.concatenate([f1 for f1, _ in draws])


def _class_f1(f1: float, sampled: Floats, is_class: NDArray[np.bool_]) -> ClassF1:
    rows = int(is_class.sum())
    return ClassF1(f1, *_bounds(sampled, f1, rows), float(rows))


def _weighted(f1: Floats, support: Floats) -> Floats:
    average: Floats = (f1 * support).sum(axis=1) / support.sum(axis=1)
    return average


def _bounds(drawn: Floats, f1: float, rows: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, TAILS)
    if high - low > 0 or rows == 0:
        return float(low), float(high)
    # If all rows are correct, or all wrong, every resample is the same and the interval collapses,
    # although a few rows prove little. Wilson's interval of a proportion (1927) does not.
    square = NORMAL_95**2
    middle = (f1 + square / (2 * rows)) / (1 + square / rows)
    half = NORMAL_95 / (1 + square / rows) * np.sqrt(f1 * (1 - f1) / rows + square / (4 * rows**2))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _sizes(resamples: int) -> list[int]:
    full, rest = divmod(resamples, AT_ONCE)
    return [AT_ONCE] * full + [rest] * bool(rest)
