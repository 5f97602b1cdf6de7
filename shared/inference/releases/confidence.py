"""Correct confidences by labelled rows: Bayesian logistic recalibration, in pure Python.

A temperature makes the log loss of all categories small. It does not make the confidence of the
answer right: with hundreds of categories, answers with a confidence of .99 may be right in 92 % of
the cases. So a release states how often its answers to held-out products are right, by confidence.

The probability that an answer with confidence `c` is right is modelled as
`sigmoid(intercept + slope * logit(c))` (Platt, Probabilistic Outputs for Support Vector Machines,
1999, applied to the logit of a probability as in Kull et al., Beyond Sigmoids, 2017). The prior
of a release says that the confidences are right: `intercept ~ N(0, 1)`, `slope ~ N(1, 0.5)`; labels
of a catalog move it from what the release states. The posterior is approximated by a normal
distribution at its mode (Laplace approximation: Bishop, Pattern Recognition and Machine Learning,
2006, section 4.5).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

#: Confidences have four digits; 0 and 1 stand for values that were rounded to them.
SMALLEST = 0.5e-4
#: Standard deviations of the prior.
INTERCEPT_SD, SLOPE_SD = 1.0, 0.5
#: The slope stays positive, so that a higher confidence is never a lower probability.
SMALLEST_SLOPE = 0.05
#: Newton's method has converged after a few steps from the mode of the prior.
STEPS, TOLERANCE = 50, 1e-9


@dataclass(frozen=True)
class LabelledRows:
    """Labelled rows of one confidence: how many there are, and how many of them are right."""

    confidence: float
    rows: int
    right: int


@dataclass(frozen=True)
class Calibration:
    """Probability of being right for each confidence, and the uncertainty of that relation.

    Attributes:
        intercept: Added to the logit of the confidence.
        slope: Factor of the logit of the confidence.
        covariance: Covariance of intercept and slope: variance, covariance, variance.
    """

    intercept: float = 0.0
    slope: float = 1.0
    covariance: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def is_identity(self) -> bool:
        """True if confidences are taken as they are."""
        return (self.intercept, self.slope) == (0.0, 1.0)

    def probability(self, confidence: float) -> float:
        """Return the probability that an answer with this confidence is right."""
        if self.is_identity:
            return confidence
        return sigmoid(self.intercept + self.slope * logit(confidence))


@dataclass(frozen=True)
class HeldOutConfidence:
    """Statement of a release about its answers of one kind: `text`, `image` or `fusion`.

    Attributes:
        rows: Number of held-out products that support it.
        calibration: Relation between the confidence and the probability of being right.
    """

    rows: int
    calibration: Calibration

    def named(self, kind: str) -> dict[str, float]:
        """Return the numbers under their names in the figures of a release."""
        calibration = self.calibration
        numbers = (self.rows, calibration.intercept, calibration.slope, *calibration.covariance)
        return dict(zip(_names(kind), map(float, numbers), strict=True))

    @classmethod
    def read(cls, kind: str, figures: Mapping[str, float]) -> Self | None:
        """Return the statement of a release's figures; `None` if it has none of the kind."""
        numbers = [figures.get(name) for name in _names(kind)]
        found = [one for one in numbers if one is not None]
        if len(found) < len(numbers):
            return None
        rows, intercept, slope, first, mixed, second = found
        return cls(int(rows), Calibration(intercept, slope, (first, mixed, second)))


def _names(kind: str) -> list[str]:
    names = ("rows", "intercept", "slope", "variance", "covariance", "slope_variance")
    return [f"{kind}_confidence_{name}" for name in names]


#: The confidences themselves.
IDENTITY = Calibration()


def calibrated(labelled: Iterable[LabelledRows], expected: Calibration = IDENTITY) -> Calibration:
    """Return the calibration at the mode of the posterior; the prior's without labels.

    Args:
        labelled: Labelled rows.
        expected: Mean of the prior.
    """
    points = [(logit(one.confidence), one.rows, one.right) for one in labelled if one.rows]
    mean = expected.intercept, expected.slope
    intercept, slope = mean
    for _ in range(STEPS):
        gradient, (first, mixed, second) = _derivatives(points, mean, intercept, slope)
        determinant = first * second - mixed * mixed
        steps = (
            (second * gradient[0] - mixed * gradient[1]) / determinant,
            (first * gradient[1] - mixed * gradient[0]) / determinant,
        )
        # Halved until the posterior rises: far from its mode a full step may overshoot.
        before = _log_posterior(points, mean, intercept, slope)
        scale = 1.0
        while scale > TOLERANCE and before > _log_posterior(
            points, mean, intercept + scale * steps[0], slope + scale * steps[1]
        ):
            scale /= 2
        intercept, slope = intercept + scale * steps[0], slope + scale * steps[1]
        if max(map(abs, steps)) * scale < TOLERANCE:
            break
    slope = max(slope, SMALLEST_SLOPE)
    _, (first, mixed, second) = _derivatives(points, mean, intercept, slope)
    determinant = first * second - mixed * mixed
    covariance = (second / determinant, -mixed / determinant, first / determinant)
    return Calibration(intercept, slope, covariance)


def logit(probability: float) -> float:
    """Return the log odds of a probability, which is clipped to avoid infinities."""
    clipped = min(max(probability, SMALLEST), 1 - SMALLEST)
    return math.log(clipped / (1 - clipped))


def sigmoid(log_odds: float) -> float:
    """Return the probability of log odds."""
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    return math.exp(log_odds) / (1 + math.exp(log_odds))


_Points = list[tuple[float, int, int]]
_Mean = tuple[float, float]


def _log_posterior(points: _Points, mean: _Mean, intercept: float, slope: float) -> float:
    off = (intercept - mean[0]) / INTERCEPT_SD, (slope - mean[1]) / SLOPE_SD
    total = -0.5 * (off[0] ** 2 + off[1] ** 2)
    for x, rows, right in points:
        z = intercept + slope * x
        # log(1 + exp(z)), without overflow.
        softplus = max(z, 0.0) + math.log1p(math.exp(-abs(z)))
        total += right * z - rows * softplus
    return total


def _derivatives(
    points: _Points, mean: _Mean, intercept: float, slope: float
) -> tuple[tuple[float, float], tuple[float, float, float]]:
    """Return the gradient of the log posterior and its negated second derivatives."""
    by_intercept = (mean[0] - intercept) / INTERCEPT_SD**2
    by_slope = (mean[1] - slope) / SLOPE_SD**2
    first, mixed, second = 1 / INTERCEPT_SD**2, 0.0, 1 / SLOPE_SD**2
    for x, rows, right in points:
        p = sigmoid(intercept + slope * x)
        error, weight = right - rows * p, rows * p * (1 - p)
        by_intercept += error
        by_slope += error * x
        first += weight
        mixed += weight * x
        second += weight * x * x
    return (by_intercept, by_slope), (first, mixed, second)
