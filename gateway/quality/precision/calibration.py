"""Correct confidences by labels: Bayesian logistic recalibration, in pure Python.

The probability that an answer with confidence `c` is right is modelled as
`sigmoid(intercept + slope * logit(c))` (Platt, Probabilistic Outputs for Support Vector Machines,
1999, applied to the logit of a probability as in Kull et al., Beyond Sigmoids, 2017). The prior
says that the confidences are right: `intercept ~ N(0, 1)`, `slope ~ N(1, 0.5)`. The posterior is
approximated by a normal distribution at its mode (Laplace approximation: Bishop, Pattern
Recognition and Machine Learning, 2006, section 4.5).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

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


#: The confidences themselves.
IDENTITY = Calibration()


def calibrated(labelled: Iterable[LabelledRows]) -> Calibration:
    """Return the calibration at the mode of the posterior; the prior's without labels."""
    points = [(logit(one.confidence), one.rows, one.right) for one in labelled if one.rows]
    intercept, slope = 0.0, 1.0
    for _ in range(STEPS):
        gradient, (first, mixed, second) = _derivatives(points, intercept, slope)
        determinant = first * second - mixed * mixed
        steps = (
            (second * gradient[0] - mixed * gradient[1]) / determinant,
            (first * gradient[1] - mixed * gradient[0]) / determinant,
        )
        # Halved until the posterior rises: far from its mode a full step may overshoot.
        before = _log_posterior(points, intercept, slope)
        scale = 1.0
        while scale > TOLERANCE and before > _log_posterior(
            points, intercept + scale * steps[0], slope + scale * steps[1]
        ):
            scale /= 2
        intercept, slope = intercept + scale * steps[0], slope + scale * steps[1]
        if max(map(abs, steps)) * scale < TOLERANCE:
            break
    slope = max(slope, SMALLEST_SLOPE)
    _, (first, mixed, second) = _derivatives(points, intercept, slope)
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


def _log_posterior(points: _Points, intercept: float, slope: float) -> float:
    total = -0.5 * ((intercept / INTERCEPT_SD) ** 2 + ((slope - 1) / SLOPE_SD) ** 2)
    for x, rows, right in points:
        z = intercept + slope * x
        # log(1 + exp(z)), without overflow.
        softplus = max(z, 0.0) + math.log1p(math.exp(-abs(z)))
        total += right * z - rows * softplus
    return total


def _derivatives(
    points: _Points, intercept: float, slope: float
) -> tuple[tuple[float, float], tuple[float, float, float]]:
    """Return the gradient of the log posterior and its negated second derivatives."""
    by_intercept = -intercept / INTERCEPT_SD**2
    by_slope = -(slope - 1) / SLOPE_SD**2
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
