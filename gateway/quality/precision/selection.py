"""Select answers by confidence so that a target share of them is right; pure functions.

A selection accepts all answers from a confidence upwards. Its expected precision is the mean of the
probabilities that its answers are right. It reaches a target if the lower bound of that mean does,
with a confidence of 90 %: the calibration is fitted on few rows, and a threshold that is chosen by
the expected precision alone misses the target as often as not.

The number of right answers among independent ones with probabilities `p` is Poisson-binomial, with
variance `sum(p * (1 - p))`; for many answers it is close to a normal distribution (Le Cam, Pacific
J. Math. 10, 1960; Hong, On computing the distribution function for the Poisson binomial
distribution, 2013). The uncertainty of a calibration is added by the delta method.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.inference.releases.confidence import Calibration, logit

#: Two-sided level of all intervals, and its quantile of the normal distribution.
LEVEL = 0.95
Z = 1.959963984540054
#: Quantile of the normal distribution for one-sided bounds with 90 % confidence.
BOUND_Z = 1.2815515655446004


@dataclass(frozen=True)
class Bin:
    """The answers of one category with one confidence.

    Attributes:
        category: Code of the answered category.
        confidence: Confidence of the answers, 0 to 1.
        rows: Number of answers.
        labelled: Number of them that people have labelled.
        right: Number of labelled ones whose label is the answer.
        is_foreign: True for products that seem to belong to none of the categories. No selection
            takes them, because their confidences assume that one of the categories is right.
    """

    category: int
    confidence: float
    rows: int
    labelled: int = 0
    right: int = 0
    is_foreign: bool = False


@dataclass(frozen=True)
class Interval:
    """An interval of a share, at `LEVEL`."""

    low: float
    high: float


@dataclass(frozen=True)
class Selection:
    """The accepted answers, and their expected precision.

    Attributes:
        threshold: Lowest accepted confidence; `None` if no answer is accepted.
        rows: Number of answers to select from.
        accepted: Accepted answers, without those that a label contradicts.
        review: Answers left for review: neither accepted nor labelled.
        foreign: Number of those to products that seem foreign.
        precision: Expected share of right answers among the accepted ones; `None` for none.
        interval: Interval of the precision; `None` for none.
        labelled: Labelled answers from the threshold upwards.
        right: Number of labelled ones whose label is the answer.
        reachable: Highest target that a selection reaches; `None` without known products.
    """

    threshold: float | None
    rows: int
    accepted: int
    review: int
    foreign: int
    precision: float | None
    interval: Interval | None
    labelled: int
    right: int
    reachable: float | None


def threshold_of(bins: Iterable[Bin], target: float, calibration: Calibration) -> float | None:
    """Return the lowest confidence from which upwards the target is reached.

    Args:
        bins: Answers of one or several categories.
        target: Wanted share of right answers, 0 to 1.
        calibration: Probability of being right for each confidence.
    """
    reached = (
        confidence for confidence, mean in _reached(bins, calibration) if mean >= target - 1e-9
    )
    return min(reached, default=None)


def selected(
    bins: Sequence[Bin], thresholds: Mapping[int, float | None], calibration: Calibration
) -> Selection:
    """Return what accepting answers by the threshold of their category selects.

    Args:
        bins: The answers.
        thresholds: Lowest accepted confidence of each category; `None` to accept none.
        calibration: Probability of being right for each confidence.
    """
    taken = [one for one in bins if _is_taken(one, thresholds)]
    lowest = [one for one in map(thresholds.get, {one.category for one in taken}) if one]
    rows = sum(one.rows for one in bins)
    accepted = sum(one.rows - (one.labelled - one.right) for one in taken)
    labelled = sum(one.labelled for one in taken)
    unlabelled = sum(one.rows - one.labelled for one in bins)
    return Selection(
        threshold=min(lowest, default=None),
        rows=rows,
        accepted=accepted,
        review=unlabelled - sum(one.rows - one.labelled for one in taken),
        foreign=sum(one.rows - one.labelled for one in bins if one.is_foreign),
        precision=_mean(taken, calibration),
        interval=_interval(taken, calibration),
        labelled=labelled,
        right=sum(one.right for one in taken),
        reachable=max((mean for _, mean in _reached(bins, calibration)), default=None),
    )


def wilson(right: int, rows: int) -> Interval:
    """Return the score interval of a share (Wilson, J. Am. Stat. Assoc. 22, 1927).

    Args:
        right: Number of successes.
        rows: Number of trials, at least one.
    """
    share, square = right / rows, Z * Z
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    half = (
        Z / (1 + square / rows) * math.sqrt(share * (1 - share) / rows + square / (4 * rows * rows))
    )
    low = 0.0 if right == 0 else max(0.0, middle - half)
    return Interval(low, 1.0 if right == rows else min(1.0, middle + half))


def _reached(bins: Iterable[Bin], calibration: Calibration) -> Iterator[tuple[float, float]]:
    """Yield each confidence with the target that accepting from it upwards reaches."""
    rows, right, by_intercept, by_slope = 0, 0.0, 0.0, 0.0
    known = [one for one in bins if not one.is_foreign]
    for confidence, count in sorted(_counted(known).items(), reverse=True):
        p = calibration.probability(confidence)
        rows += count
        right += count * p
        by_intercept += count * p * (1 - p)
        by_slope += count * p * (1 - p) * logit(confidence)
        fitted = _variance(calibration, by_intercept / rows, by_slope / rows)
        yield confidence, right / rows - BOUND_Z * math.sqrt(fitted)


def _variance(calibration: Calibration, by_intercept: float, by_slope: float) -> float:
    """Return the variance that the uncertainty of a calibration adds, from derivatives."""
    first, mixed, second = calibration.covariance
    found = first * by_intercept**2 + 2 * mixed * by_intercept * by_slope + second * by_slope**2
    return max(0.0, found)


def _counted(bins: Iterable[Bin]) -> Mapping[float, int]:
    found: dict[float, int] = {}
    for one in bins:
        found[one.confidence] = found.get(one.confidence, 0) + one.rows
    return found


def _is_taken(one: Bin, thresholds: Mapping[int, float | None]) -> bool:
    threshold = None if one.is_foreign else thresholds.get(one.category)
    return threshold is not None and one.confidence >= threshold


def _mean(bins: Sequence[Bin], calibration: Calibration) -> float | None:
    rows = sum(one.rows for one in bins)
    if not rows:
        return None
    return sum(one.rows * calibration.probability(one.confidence) for one in bins) / rows


def _interval(bins: Sequence[Bin], calibration: Calibration) -> Interval | None:
    middle = _mean(bins, calibration)
    if middle is None:
        return None
    rows = sum(one.rows for one in bins)
    variance = by_intercept = by_slope = 0.0
    for confidence, count in _counted(bins).items():
        p = calibration.probability(confidence)
        weight = count * p * (1 - p)
        variance += weight
        by_intercept += weight
        by_slope += weight * logit(confidence)
    # Variances of the mean: of which answers are right, and of the calibration.
    drawn = variance / rows**2
    fitted = _variance(calibration, by_intercept / rows, by_slope / rows)
    half = Z * math.sqrt(drawn + fitted)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))
