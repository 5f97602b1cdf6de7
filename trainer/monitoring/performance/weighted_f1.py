"""F1 from labels, with what chance leaves open: a bootstrap over the labelled rows."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from trainer.monitoring.performance.cbpe import NORMAL_95, ClassF1, Estimate

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

#: The ends of an interval are steady to a tenth of its width from about a thousand resamples on
#: (Efron & Tibshirani 1993, section 19.3).
RESAMPLES = 2_000
#: Resamples computed at once, which bounds the memory.
AT_ONCE = 200
TAILS = (0.025, 0.975)
#: Wrong answers of a category that are kept.
MOST_CONFUSED = 3

#: Rows by true code, and by the code that they were answered with.
Confusions = dict[int, dict[int, float]]


def measured_f1(
    truth: Codes,
    answered: Codes,
    weights: Floats | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Measure the weighted F1 of answers whose true category is known.

    Args:
        truth: True codes, shape `(rows,)`.
        answered: Answers, shape `(rows,)`; a code that no row has is simply wrong.
        weights: How many answers each row stands for, such as `1 / chance` of one that was drawn
            (Hájek 1971: as shares, so that their sum need not be known). Equal if left out.
        resamples: How often the rows are drawn again with replacement (percentile interval, Efron &
            Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
        seed: Equal seeds give equal intervals.

    Raises:
        InvalidInput: No rows, not one answer and weight for each, or a weight that is not above 0.
    """
    given = np.ones(len(truth)) if weights is None else np.asarray(weights, np.float64)
    if not (len(truth) == len(answered) == len(given) > 0) or not np.all(given > 0):
        raise InvalidInput(
            "Expected an answer and a weight above 0 for each of at least one row. "
            f"Received: {len(truth)} rows, {len(answered)} answers, {len(given)} weights"
        )
    # Rows that are alike are drawn together, by their frequency: the same distribution, less work.
    rows = np.stack([truth.astype(np.float64), answered.astype(np.float64), given], axis=1)
    cells, counts = np.unique(rows, axis=0, return_counts=True)
    classes = np.unique(cells[:, :2])
    f1, support = _f1(cells, classes, counts[None])
    generator = np.random.default_rng(seed)
    drawn = [
        _f1(cells, classes, generator.multinomial(len(rows), counts / len(rows), size=size))
        for size in _sizes(resamples)
    ]
    whole = np.concatenate([_weighted(*one) for one in drawn])
    of_classes = np.concatenate([one[0] for one in drawn])
    known = np.isin(classes, truth)
    effective = given.sum() ** 2 / (given**2).sum()
    weighted = float(_weighted(f1, support)[0])
    return Estimate(
        weighted,
        *_ends(whole, weighted, effective),
        len(rows),
        {
            int(code): ClassF1(
                float(f1[0, at]),
                *_ends(of_classes[:, at], float(f1[0, at]), int((truth == code).sum())),
                float((truth == code).sum()),
            )
            for at, code in enumerate(classes)
            if known[at]
        },
    )


def by_code(estimate: Estimate, confused: Confusions | None = None) -> dict[str, Any]:
    """The categories of an estimate as they are kept: JSON has only texts as names.

    Args:
        estimate: Of all of them.
        confused: Rows by true code and by the code that they were answered with; the most frequent
            wrong ones are kept as `taken_for`.
    """
    found = {str(code): asdict(one) for code, one in estimate.by_class.items()}
    for code, answers in (confused or {}).items():
        wrong = {answer: rows for answer, rows in answers.items() if answer != code and rows > 0}
        most = sorted(wrong, key=lambda answer: -wrong[answer])[:MOST_CONFUSED]
        if str(code) in found and most:
            kept = {str(answer): round(wrong[answer], 2) for answer in most}
            found[str(code)]["taken_for"] = kept
    return found


def confusions(truth: Codes, answered: Codes) -> Confusions:
    """How many rows of each code were answered with each code."""
    pairs, counts = np.unique(np.stack([truth, answered], axis=1), axis=0, return_counts=True)
    found: Confusions = {}
    for (code, answer), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        found.setdefault(code, {})[answer] = float(count)
    return found


def _f1(cells: Floats, classes: Floats, drawn: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """F1 and weight of each class in each draw, both of shape `(draws, classes)`.

    F1 of a category is 2 right / (true + answered); it counts by its share of the true rows
    (van Rijsbergen 1979; the `weighted` average of scikit-learn).
    """
    true = (cells[:, :1] == classes).astype(np.float64)
    answered = (cells[:, 1:2] == classes).astype(np.float64)
    weight = drawn * cells[:, 2]
    support, claimed, right = weight @ true, weight @ answered, weight @ (true * answered)
    total = support + claimed
    f1 = np.divide(2 * right, total, out=np.zeros_like(total), where=total > 0)
    return f1, support


def _weighted(f1: Floats, support: Floats) -> Floats:
    found: Floats = (f1 * support).sum(axis=1) / support.sum(axis=1)
    return found


def _ends(drawn: Floats, f1: float, rows: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, TAILS)
    if high - low > 0 or rows == 0:
        return float(low), float(high)
    # Rows that are all right, or all wrong, look the same however they are drawn; yet a few of them
    # prove little. Wilson's interval of a share (1927) has no such blind spot.
    square = NORMAL_95**2
    middle = (f1 + square / (2 * rows)) / (1 + square / rows)
    half = NORMAL_95 / (1 + square / rows) * np.sqrt(f1 * (1 - f1) / rows + square / (4 * rows**2))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _sizes(resamples: int) -> list[int]:
    whole, left = divmod(resamples, AT_ONCE)
    return [AT_ONCE] * whole + [left] * bool(left)
