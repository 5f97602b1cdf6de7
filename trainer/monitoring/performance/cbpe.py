"""F1 without labels, from calibrated probabilities: confidence-based performance estimation.

A probability of .8 says that four of five such answers are right, so probabilities alone tell how
many answers of each category to expect right. Source: NannyML's documentation, "Confidence-based
Performance Estimation (CBPE)"; Guillory et al., "Predicting with Confidence on Unseen
Distributions", ICCV 2021.

It is right as long as the probabilities are. A change of what the categories mean (concept drift)
cannot be seen this way, so an estimate is shown beside how far earlier ones were off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput

Floats = NDArray[np.float64]
Columns = NDArray[np.int64]

#: Half the width of a 95 % interval, in standard deviations.
NORMAL_95 = 1.959964
#: A category that nothing was answered with, and that fewer rows are expected of, has no F1.
LEAST_ROWS = 1.0
#: Float32 probabilities that were rounded add up to one within this.
SUM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class ClassF1:
    """One category: F1, its 95 % interval, and how many rows it has, in expectation."""

    f1: float
    low: float
    high: float
    rows: float


@dataclass(frozen=True)
class Estimate:
    """Weighted F1 with the ends of its 95 % interval.

    Attributes:
        f1: Weighted by the rows of each category.
        low: Lower end.
        high: Upper end.
        rows: How many rows it is from.
        by_class: By code, or by column where no codes are given.
    """

    f1: float
    low: float
    high: float
    rows: int
    by_class: dict[int, ClassF1]


def estimated_f1(
    probabilities: NDArray[np.floating],
    codes: Sequence[int] | None = None,
    answered: Columns | None = None,
) -> Estimate:
    """Estimate the weighted F1 of answers whose truth is not known.

    Args:
        probabilities: Calibrated, shape `(rows, classes)`.
        codes: Of the columns.
        answered: Column that each row was answered with, shape `(rows,)`; the likeliest if left
            out.

    Returns:
        F1 of the expected confusion matrix. That is a ratio of expectations and not the expectation
        of the ratio: of a category with few rows it is a little too high or too low (in the order
        of one over its rows), which the weights make small in the whole. The interval is where the
        F1 of these very rows lies 95 times in 100, if the probabilities are right; it does not
        cover probabilities that are wrong.

    Raises:
        InvalidInput: No rows, or no probabilities.
    """
    expectation = Expectation.of(np.shape(probabilities)[-1])
    expectation.add(probabilities, answered)
    return expectation.estimate(codes)


@dataclass
class Expectation:
    """What probabilities let expect, added up a part at a time: a month need not fit in memory.

    The true categories of the rows are independent draws from their probabilities. So counts of
    them have known means and covariances, and the delta method gives the variance of F1 (Casella
    and Berger, "Statistical Inference", 2002, section 5.5.4).

    Attributes:
        rows: How many were added.
        claimed: Rows answered with each category, shape `(classes,)`.
        confusions: Rows expected of each true category (columns), by what they were answered with
            (rows); shape `(classes, classes)`.
        products: Sum of `p p'` over all rows, shape `(classes, classes)`.
        answered_products: Row `c`: sum of `p_c p` over the rows answered with `c`.
    """

    claimed: Floats
    confusions: Floats
    products: Floats
    answered_products: Floats
    rows: int = 0

    @classmethod
    def of(cls, classes: int) -> "Expectation":
        """Nothing yet, of so many classes."""
        first, second, third = (np.zeros((classes, classes)) for _ in range(3))
        return cls(np.zeros(classes), first, second, third)

    @property
    def right(self) -> Floats:
        """Answers with each category that are expected to be right, shape `(classes,)`."""
        return self.confusions.diagonal()

    @property
    def support(self) -> Floats:
        """Rows expected of each category, shape `(classes,)`."""
        found: Floats = self.confusions.sum(axis=0)
        return found

    def add(self, probabilities: NDArray[np.floating], answered: Columns | None = None) -> None:
        """Add rows, shape `(rows, classes)`. Raises `InvalidInput` if they are no probabilities."""
        chances = _checked(probabilities, len(self.claimed))
        if not len(chances):
            return
        columns = chances.argmax(axis=1) if answered is None else answered
        is_answer = (columns[:, None] == np.arange(len(self.claimed))).astype(np.float64)
        self.rows += len(chances)
        self.claimed += is_answer.sum(axis=0)
        self.confusions += is_answer.T @ chances
        self.products += chances.T @ chances
        self.answered_products += (is_answer * chances).T @ chances

    def merge(self, other: "Expectation") -> None:
        """Add what another one has, such as a day to its month."""
        self.rows += other.rows
        for name in ("claimed", "confusions", "products", "answered_products"):
            getattr(self, name)[...] += getattr(other, name)

    def estimate(self, codes: Sequence[int] | None = None) -> Estimate:
        """F1 of all rows that were added. Raises `InvalidInput` without any."""
        if self.rows == 0:
            raise InvalidInput("Expected probabilities of at least one row. Received: none")
        total = self.support + self.claimed
        f1 = np.divide(2 * self.right, total, out=np.zeros_like(total), where=total > 0)
        weighted = float(f1 @ self.support / self.rows)
        low, high = _interval(weighted, self._variance(total))
        ends = [_interval(*one) for one in zip(f1, self._class_variances(total), strict=True)]
        return Estimate(
            f1=weighted,
            low=low,
            high=high,
            rows=self.rows,
            by_class={
                code: ClassF1(float(f1[column]), *ends[column], float(self.support[column]))
                for column, code in enumerate(codes or range(len(f1)))
                if self.claimed[column] or self.support[column] >= LEAST_ROWS
            },
        )

    def by_truth(self, codes: Sequence[int]) -> dict[int, dict[int, float]]:
        """Rows expected by true code, and by the code that they were answered with."""
        return {
            code: {
                answer: float(rows)
                for answer, rows in zip(codes, self.confusions[:, column], strict=True)
            }
            for column, code in enumerate(codes)
        }

    def _variance(self, total: Floats) -> float:
        """Of the weighted F1, `sum(support * 2 right / (support + claimed)) / rows`."""
        by_right = _ratio(2 * self.support, total) / self.rows
        by_support = _ratio(2 * self.right * self.claimed, total**2) / self.rows
        # A row of the true category c moves F1 by by_support[c], and by by_right[c] as well if that
        # was the answer. Its variance: the mean of the square minus the square of the mean.
        squares = self.support @ by_support**2 + self.right @ (
            2 * by_support * by_right + by_right**2
        )
        means = (
            by_support @ self.products @ by_support
            + 2 * by_right @ self.answered_products @ by_support
            + self.answered_products.diagonal() @ by_right**2
        )
        return float(squares - means)

    def _class_variances(self, total: Floats) -> Floats:
        """Of each category's F1; shape `(classes,)`."""
        by_right = _ratio(2 * np.ones_like(total), total)
        by_support = _ratio(-2 * self.right, total**2)
        of_right = self.right - self.answered_products.diagonal()
        of_support = self.support - self.products.diagonal()
        # The covariance of both is that of the rows answered with the category: `of_right`.
        variances: Floats = (
            by_right**2 * of_right
            + by_support**2 * of_support
            + 2 * by_right * by_support * of_right
        )
        return variances


def _checked(probabilities: NDArray[np.floating], classes: int) -> Floats:
    found = np.asarray(probabilities, np.float64)
    if found.ndim != 2 or found.shape[1] != classes or classes == 0:
        raise InvalidInput(
            f"Expected probabilities of the shape (rows, {classes or 'classes'}). "
            f"Received: {np.shape(probabilities)}"
        )
    if not is_distribution(found).all():
        raise InvalidInput("Expected rows of probabilities that add up to 1")
    scaled: Floats = found / found.sum(axis=1)[:, None]
    return scaled


def is_distribution(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which rows `(rows, classes)` are probabilities that add up to 1; none with a NaN is."""
    found: NDArray[np.bool_] = np.all(rows >= 0, axis=1) & (
        np.abs(rows.sum(axis=1) - 1) <= SUM_TOLERANCE
    )
    return found


def _ratio(above: Floats, below: Floats) -> Floats:
    found: Floats = np.divide(above, below, out=np.zeros_like(below), where=below > 0)
    return found


def _interval(f1: float, variance: float) -> tuple[float, float]:
    half = NORMAL_95 * float(np.sqrt(max(variance, 0.0)))
    return max(0.0, float(f1) - half), min(1.0, float(f1) + half)
