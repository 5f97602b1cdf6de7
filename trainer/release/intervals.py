"""Intervals of figures by the bootstrap: how far a figure may be off by the choice of the rows.

Rows are resampled with replacement and the figure is computed each time; the interval spans the
middle values (percentile interval, Efron & Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13). Differences are paired: both answers of a row are drawn together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

CONFIDENCE = 0.95
#: The interval's ends are stable to a tenth of its width from about a thousand resamples on
#: (Efron & Tibshirani 1993, section 19.3).
RESAMPLES = 4_000
#: Most counts that are held in memory at once.
CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A figure and the interval that holds its true value with 95 % confidence."""

    value: float
    low: float
    high: float

    @property
    def is_above_zero(self) -> bool:
        """True if the whole interval is above zero: a positive difference beyond chance."""
        return self.low > 0

    @property
    def is_below_zero(self) -> bool:
        """True if the whole interval is below zero: a negative difference beyond chance."""
        return self.high < 0

    def text(self, *, signed: bool = False) -> str:
        """Return the figure and the interval for a table."""
        if signed:
            return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f})"
        return f"{self.value:.4f} ({self.low:.3f}–{self.high:.3f})"


def f1_interval(codes: Codes, answers: Codes, seed: int = 0) -> Interval:
    """Return the weighted F1 of answers with its interval.

    Args:
        codes: True categories, shape `(rows,)`.
        answers: Shape `(repeats, rows)`: the mean over repeats is measured.
        seed: Equal seeds give equal intervals.
    """
    columns = range(1, 1 + len(answers))
    return _interval(
        np.stack([codes, *answers], axis=1), lambda c, drawn: mean_f1(c, columns, drawn), seed
    )


def f1_difference(codes: Codes, first: Codes, second: Codes, seed: int = 0) -> Interval:
    """Return weighted F1 of `first` - that of `second`, paired; both of shape `(repeats, rows)`."""
    middle = 1 + len(first)
    ones, others = range(1, middle), range(middle, middle + len(second))
    return _interval(
        np.stack([codes, *first, *second], axis=1),
        lambda c, drawn: mean_f1(c, ones, drawn) - mean_f1(c, others, drawn),
        seed,
    )


def mean_interval(values: Floats, seed: int = 0) -> Interval:
    """Return the mean of values `(rows,)` with its interval."""

    def mean(drawn: Codes) -> Floats:
        found: Floats = drawn @ values / len(values)
        return found

    return _resampled(mean, np.ones(len(values), np.int64), seed)


def distinct(rows: Codes) -> tuple[Codes, Codes]:
    """Return distinct rows `(cells, columns)` in the order of first appearance, and their counts.

    Rows with the same true category and the same answers are interchangeable, so it suffices to
    draw from the few hundred distinct ones by frequency: the same distribution, far cheaper.
    Swapping columns does not change the order, and so not the draws.
    """
    cells, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    return cells[order], counts[order]


def weighted_f1(cells: Codes, answer: int, drawn: Codes | Floats) -> Floats:
    """Return the weighted F1 of each draw, shape `(resamples,)`.

    F1 of a category is 2 right / (true + answered); it counts by its share of the true rows
    (van Rijsbergen 1979; the `weighted` average of scikit-learn).

    Args:
        cells: Distinct rows, the true category in the first column.
        answer: Column of the answers.
        drawn: Counts of the cells, or sums of the weights of their rows, shape
            `(resamples, cells)`.
    """
    classes = np.unique(cells[:, 0])
    true = (cells[:, :1] == classes).astype(np.float64)
    answered = (cells[:, answer, None] == classes).astype(np.float64)
    draws = drawn.astype(np.float64)
    support, claimed, right = draws @ true, draws @ answered, draws @ (true * answered)
    total = support + claimed
    f1 = np.divide(2 * right, total, out=np.zeros_like(total), where=total > 0)
    weighted: Floats = (f1 * support).sum(axis=1) / support.sum(axis=1)
    return weighted


def mean_f1(cells: Codes, answers: range, drawn: Codes) -> Floats:
    """Return the mean weighted F1 over several columns of answers, shape `(resamples,)`."""
    found: Floats = np.mean([weighted_f1(cells, answer, drawn) for answer in answers], axis=0)
    return found


def _interval(rows: Codes, measure: Callable[[Codes, Codes], Floats], seed: int) -> Interval:
    cells, counts = distinct(rows)
    return _resampled(lambda drawn: measure(cells, drawn), counts, seed)


def _resampled(measure: Callable[[Codes], Floats], counts: Codes, seed: int) -> Interval:
    rows = int(counts.sum())
    generator = np.random.default_rng(seed)
    size = max(1, CHUNK // len(counts))
    chunks = [min(size, RESAMPLES - start) for start in range(0, RESAMPLES, size)]
    found = np.concatenate(
        [measure(generator.multinomial(rows, counts / rows, size=chunk)) for chunk in chunks]
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return Interval(float(measure(counts[None])[0]), float(low), float(high))
