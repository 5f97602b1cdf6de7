"""F1 without labels, from calibrated probabilities: confidence-based performance estimation.

Of answers with a calibrated probability of .8, four in five are correct, so the probabilities alone
give the expected number of correct answers in each category. Source: NannyML's documentation,
"Confidence-based Performance Estimation (CBPE)"; Guillory et al., "Predicting with Confidence on
Unseen Distributions", ICCV 2021.

The estimate is only as good as the calibration. CBPE cannot detect concept drift, a change in the
meaning of the categories, so every estimate is shown with the error of earlier ones.
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
#: Minimum number of expected rows for the F1 of a category that was never answered.
LEAST_ROWS = 1.0
#: Tolerance for sums of rounded float32 probabilities.
SUM_TOLERANCE = 1e-2


@dataclass(frozen=True)
class ClassF1:
    """F1 of one category with its 95 % interval, and its (expected) number of rows."""

    f1: float
    low: float
    high: float
    rows: float


@dataclass(frozen=True)
class Estimate:
    """Weighted F1 with its 95 % interval.

    Attributes:
        f1: Weighted by the rows of each category.
        low: Lower bound.
        high: Upper bound.
        rows: Number of rows.
        by_class: F1 of each category by code, or by column if no codes were passed.
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
    """Estimate the weighted F1 of answers without labels.

    Args:
        probabilities: Calibrated, shape `(rows, classes)`.
        codes: Category code of each column.
        answered: Column of the answer of each row, shape `(rows,)`; the likeliest by default.

    Returns:
        F1 of the expected confusion matrix. That is a ratio of expectations, not the expectation of
        the ratio: for a category with few rows it is slightly biased (in the order of one over its
        rows), but such a category has little weight in the total. The interval contains the F1 of
        these rows 95 times in 100 if the probabilities are calibrated; it does not cover
        miscalibration.

    Raises:
        InvalidInput: No rows, or rows that are not probabilities.
    """
    expectation = Expectation.of(np.shape(probabilities)[-1])
    expectation.add(probabilities, answered)
    return expectation.estimate(codes)


@dataclass
class Expectation:
    """Expected confusion matrix, accumulated in parts so that a month need not fit in memory.

    The true categories of the rows are independent draws from their probabilities. So their counts
    have known means and covariances, and the delta method gives the variance of F1 (Casella and
    Berger, "Statistical Inference", 2002, section 5.5.4).

    Attributes:
        rows: Number of rows added.
        predicted: Rows answered with each category, shape `(classes,)`.
        confusions: Expected rows by answered category (rows) and true category (columns), shape
            `(classes, classes)`.
        products: Sum of `p p'` over all rows, shape `(classes, classes)`.
        answered_products: Row `c`: sum of `p_c p` over the rows answered with `c`.
    """

    predicted: Floats
    confusions: Floats
    products: Floats
    answered_products: Floats
    rows: int = 0

    @classmethod
    def of(cls, classes: int) -> "Expectation":
        """Return an empty expectation for a number of classes."""
        first, second, third = (np.zeros((classes, classes)) for _ in range(3))
        return cls(np.zeros(classes), first, second, third)

    @property
    def correct(self) -> Floats:
        """Expected number of correct answers with each category, shape `(classes,)`."""
        return self.confusions.diagonal()

    @property
    def support(self) -> Floats:
        """Expected rows of each true category, shape `(classes,)`."""
        rows: Floats = self.confusions.sum(axis=0)
        return rows

    def add(self, probabilities: NDArray[np.floating], answered: Columns | None = None) -> None:
        """Add rows, shape `(rows, classes)`. Raises `InvalidInput` if not probabilities."""
        valid = _checked(probabilities, len(self.predicted))
        if not len(valid):
            return
        columns = valid.argmax(axis=1) if answered is None else answered
        is_answer = (columns[:, None] == np.arange(len(self.predicted))).astype(np.float64)
        self.rows += len(valid)
        self.predicted += is_answer.sum(axis=0)
        self.confusions += is_answer.T @ valid
        self.products += valid.T @ valid
        self.answered_products += (is_answer * valid).T @ valid

    def merge(self, other: "Expectation") -> None:
        """Add another expectation, such as a day to its month."""
        self.rows += other.rows
        for name in ("predicted", "confusions", "products", "answered_products"):
            getattr(self, name)[...] += getattr(other, name)

    def estimate(self, codes: Sequence[int] | None = None) -> Estimate:
        """Return the F1 of all rows added. Raises `InvalidInput` if there are none."""
        if self.rows == 0:
            raise InvalidInput("Expected probabilities of at least one row. Received: none")
        total = self.support + self.predicted
        f1 = np.divide(2 * self.correct, total, out=np.zeros_like(total), where=total > 0)
        weighted = float(f1 @ self.support / self.rows)
        low, high = _interval(weighted, self._variance(total))
        intervals = [
            _interval(*pair) for pair in zip(f1, self._class_variances(total), strict=True)
        ]
        return Estimate(
            f1=weighted,
            low=low,
            high=high,
            rows=self.rows,
            by_class={
                code: ClassF1(float(f1[column]), *intervals[column], float(self.support[column]))
                for column, code in enumerate(codes or range(len(f1)))
                if self.predicted[column] or self.support[column] >= LEAST_ROWS
            },
        )

    def by_truth(self, codes: Sequence[int]) -> dict[int, dict[int, float]]:
        """Return expected rows by true code, then by answered code."""
        return {
            code: {
                answer: float(rows)
                for answer, rows in zip(codes, self.confusions[:, column], strict=True)
            }
            for column, code in enumerate(codes)
        }

    def _variance(self, total: Floats) -> float:
        """Return the variance of `sum(support * 2 correct / (support + predicted)) / rows`."""
        by_correct = _ratio(2 * self.support, total) / self.rows
        by_support = _ratio(2 * self.correct * self.predicted, total**2) / self.rows
        # A row of the true category c changes F1 by by_support[c], and also by by_correct[c] if the
        # answer was c. Its variance is the mean of the square minus the square of the mean.
        squares = self.support @ by_support**2 + self.correct @ (
            2 * by_support * by_correct + by_correct**2
        )
        means = (
            by_support @ self.products @ by_support
            + 2 * by_correct @ self.answered_products @ by_support
            + self.answered_products.diagonal() @ by_correct**2
        )
        return float(squares - means)

    def _class_variances(self, total: Floats) -> Floats:
        """Return the variance of each category's F1, shape `(classes,)`."""
        by_correct = _ratio(2 * np.ones_like(total), total)
        by_support = _ratio(-2 * self.correct, total**2)
        of_correct = self.correct - self.answered_products.diagonal()
        of_support = self.support - self.products.diagonal()
        # The covariance of the two counts equals the variance of the first: `of_correct`.
        variances: Floats = (
            by_correct**2 * of_correct
            + by_support**2 * of_support
            + 2 * by_correct * by_support * of_correct
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
        raise InvalidInput(
            f"Expected probabilities that add up to 1. Received: {_first_invalid(found)}"
        )
    scaled: Floats = found / found.sum(axis=1)[:, None]
    return scaled


def is_distribution(rows: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return a mask of the rows `(rows, classes)` that are probabilities adding up to 1.

    Rows with a NaN are not.
    """
    is_valid: NDArray[np.bool_] = np.all(rows >= 0, axis=1) & (
        np.abs(rows.sum(axis=1) - 1) <= SUM_TOLERANCE
    )
    return is_valid


def _first_invalid(rows: Floats) -> str:
    row = int(np.argmin(is_distribution(rows)))
    return f"{rows[row].tolist()} in row {row}"


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    ratio: Floats = np.divide(
        numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0
    )
    return ratio


def _interval(f1: float, variance: float) -> tuple[float, float]:
    half = NORMAL_95 * float(np.sqrt(max(variance, 0.0)))
    return max(0.0, float(f1) - half), min(1.0, float(f1) + half)
