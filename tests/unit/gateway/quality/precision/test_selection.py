"""Thresholds, expected precision and intervals: properties on arbitrary answers, known values."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.quality.precision.selection import Bin, selected, threshold_of, wilson
from shared.inference.releases.confidence import (
    IDENTITY,
    Calibration,
    LabelledRows,
    calibrated,
    sigmoid,
)

CONFIDENCES = st.integers(0, 10_000).map(lambda one: one / 10_000)


@st.composite
def some_bins(draw: st.DrawFn) -> list[Bin]:
    found = []
    keys = st.tuples(st.sampled_from((10, 2583, 2705)), CONFIDENCES)
    for category, confidence in draw(st.lists(keys, min_size=1, max_size=30, unique=True)):
        rows = draw(st.integers(1, 50))
        labelled = draw(st.integers(0, rows))
        right = draw(st.integers(0, labelled))
        found.append(Bin(category, confidence, rows, labelled, right))
    return found


BINS = some_bins()
TARGETS = st.floats(0.01, 1)
CALIBRATIONS = st.one_of(
    st.just(IDENTITY),
    st.builds(Calibration, st.floats(-2, 2), st.floats(0.1, 2), st.just((0.01, 0.0, 0.01))),
)


def same(bins: list[Bin], threshold: float | None) -> dict[int, float | None]:
    return {one.category: threshold for one in bins}


@given(BINS, TARGETS, CALIBRATIONS)
def test_accepted_answers_are_expected_to_reach_the_target(
    bins: list[Bin], target: float, calibration: Calibration
) -> None:
    threshold = threshold_of(bins, target, calibration)
    found = selected(bins, same(bins, threshold), calibration)
    if threshold is None:
        assert found.precision is None
        assert found.accepted == 0
        assert found.reachable is not None
        assert found.reachable < target + 1e-6
    else:
        assert found.precision is not None
        assert found.precision >= target - 1e-6


def bound(bins: list[Bin], threshold: float, calibration: Calibration) -> float:
    """Return the lower bound of the precision, with derivatives from small differences."""

    def mean(intercept: float, slope: float) -> float:
        moved = replace(calibration, intercept=intercept, slope=slope)
        return found.precision if (found := selected(bins, taken, moved)).precision else 0.0

    taken, step = same(bins, threshold), 1e-4
    if calibration.is_identity:
        return mean(0.0, 1.0)
    intercept, slope = calibration.intercept, calibration.slope
    first = (mean(intercept + step, slope) - mean(intercept - step, slope)) / (2 * step)
    second = (mean(intercept, slope + step) - mean(intercept, slope - step)) / (2 * step)
    variances = calibration.covariance[0], calibration.covariance[2]
    error = math.sqrt(variances[0] * first**2 + variances[1] * second**2)
    return mean(intercept, slope) - 1.2816 * error


@given(BINS, TARGETS, CALIBRATIONS)
def test_no_lower_threshold_reaches_the_target(
    bins: list[Bin], target: float, calibration: Calibration
) -> None:
    threshold = threshold_of(bins, target, calibration)
    for lower in {
        one.confidence for one in bins if threshold is None or one.confidence < threshold
    }:
        assert bound(bins, lower, calibration) < target + 1e-4


@given(BINS, TARGETS, TARGETS, CALIBRATIONS)
def test_higher_target_never_accepts_more(
    bins: list[Bin], one: float, other: float, calibration: Calibration
) -> None:
    low, high = (
        selected(bins, same(bins, threshold_of(bins, target, calibration)), calibration)
        for target in sorted((one, other))
    )
    assert high.accepted <= low.accepted
    assert high.review >= low.review


@given(BINS, TARGETS, CALIBRATIONS)
def test_answers_are_accepted_left_for_review_or_labelled(
    bins: list[Bin], target: float, calibration: Calibration
) -> None:
    threshold = threshold_of(bins, target, calibration)
    found = selected(bins, same(bins, threshold), calibration)
    labelled = sum(one.labelled for one in bins)
    assert found.rows == sum(one.rows for one in bins)
    assert found.accepted >= 0
    assert found.accepted + found.review <= found.rows <= found.accepted + found.review + labelled


@given(BINS, TARGETS, CALIBRATIONS)
def test_interval_contains_the_expected_precision(
    bins: list[Bin], target: float, calibration: Calibration
) -> None:
    threshold = threshold_of(bins, target, calibration)
    found = selected(bins, same(bins, threshold), calibration)
    if found.precision is not None:
        assert found.interval is not None
        assert 0 <= found.interval.low <= found.precision + 1e-9
        assert found.precision - 1e-9 <= found.interval.high <= 1


def test_thresholds_of_categories_are_their_own() -> None:
    bins = [Bin(10, 0.9, 10), Bin(10, 0.5, 10), Bin(2583, 0.99, 10), Bin(2583, 0.97, 10)]
    found = selected(bins, {10: None, 2583: 0.97}, IDENTITY)
    assert (found.accepted, found.threshold, found.review) == (20, 0.97, 20)
    assert found.precision == pytest.approx(0.98)


def test_answers_that_a_label_contradicts_are_not_accepted() -> None:
    bins = [Bin(10, 0.99, rows=10, labelled=3, right=1), Bin(10, 0.2, rows=5, labelled=5)]
    found = selected(bins, {10: 0.9}, IDENTITY)
    assert (found.accepted, found.review) == (8, 0)
    assert (found.labelled, found.right) == (3, 1)


def test_poisson_binomial_interval_covers_the_share_of_right_answers() -> None:
    draw = random.Random(7)
    hits = 0
    for _ in range(400):
        confidences = [round(draw.uniform(0.7, 1), 4) for _ in range(300)]
        bins = [Bin(1, one, confidences.count(one)) for one in set(confidences)]
        found = selected(bins, {1: 0.0}, IDENTITY)
        share = sum(draw.random() < one for one in confidences) / len(confidences)
        assert found.interval is not None
        hits += found.interval.low <= share <= found.interval.high
    assert 0.92 <= hits / 400 <= 0.98


def test_interval_with_labels_covers_the_precision_of_overconfident_answers() -> None:
    draw = random.Random(11)
    hits = 0
    for _ in range(200):
        truths = {}
        labelled = []
        for _ in range(300):
            logit = draw.gauss(2.5, 1.5)
            confidence = min(max(round(sigmoid(logit), 4), 0.0001), 0.9999)
            # Overconfident: the true log odds are six tenths of what is stated, and lower.
            truths[confidence] = sigmoid(-0.3 + 0.6 * math.log(confidence / (1 - confidence)))
            labelled.append(LabelledRows(confidence, 1, int(draw.random() < truths[confidence])))
        bins = [Bin(1, confidence, 100) for confidence in truths]
        found = selected(bins, {1: 0.5}, calibrated(labelled))
        taken = [one for one in bins if one.confidence >= 0.5]
        expected = sum(truths[one.confidence] for one in taken) / len(taken)
        assert found.interval is not None
        hits += found.interval.low <= expected <= found.interval.high
    assert hits / 200 >= 0.92


# Values of R's `binom::binom.wilson`, and of Newcombe, Statistics in Medicine 17, 1998, table I.
@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_has_its_published_values(
    right: int, rows: int, low: float, high: float
) -> None:
    found = wilson(right, rows)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_contains_the_share_and_mirrors(counts: tuple[int, int]) -> None:
    right, rows = counts
    found, mirrored = wilson(right, rows), wilson(rows - right, rows)
    assert 0 <= found.low <= right / rows + 1e-12
    assert right / rows - 1e-12 <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-9)


@given(BINS, BINS, TARGETS, CALIBRATIONS)
def test_foreign_products_are_left_for_review_and_change_nothing_else(
    known: list[Bin], others: list[Bin], target: float, calibration: Calibration
) -> None:
    bins = [*known, *(replace(one, is_foreign=True) for one in others)]
    thresholds = same(bins, threshold_of(bins, target, calibration))
    assert thresholds == same(bins, threshold_of(known, target, calibration))
    found, without = (selected(one, thresholds, calibration) for one in (bins, known))
    assert (found.accepted, found.precision) == (without.accepted, without.precision)
    assert found.reachable == without.reachable
    assert found.review == without.review + found.foreign


def answers_of_a_shop(draw: random.Random, rows: int) -> list[tuple[float, float]]:
    """Return confidences, and the probabilities of being right.

    The confidences are far too high, as one temperature for 500 categories makes them: their log
    odds are twice those of the probability of being right.
    """
    found = []
    for _ in range(rows):
        truth = draw.gauss(1.0, 2.0)
        found.append((round(sigmoid(2 * truth), 4), sigmoid(truth)))
    return found


@pytest.mark.parametrize("target", [0.9, 0.95])
def test_target_is_reached_in_four_of_five_shops_at_least(target: float) -> None:
    draw = random.Random(5)
    reached = {"stated": 0, "as they are": 0}
    shares = []
    for _ in range(60):
        held, new = answers_of_a_shop(draw, 450), answers_of_a_shop(draw, 2_000)
        stated = calibrated(LabelledRows(one, 1, int(draw.random() < p)) for one, p in held)
        bins = [Bin(1, confidence, 1) for confidence, _ in new]
        for name, calibration in (("stated", stated), ("as they are", IDENTITY)):
            threshold = threshold_of(bins, target, calibration)
            lowest = 2.0 if threshold is None else threshold
            taken = [probability for confidence, probability in new if confidence >= lowest]
            reached[name] += sum(taken) >= target * len(taken)
            if name == "stated":
                shares.append(len(taken) / len(new))
    assert reached["stated"] >= 48
    assert reached["as they are"] <= 3
    # And not by accepting next to nothing
    assert sum(shares) / len(shares) > 0.2


def test_threshold_rises_with_the_uncertainty_of_the_calibration() -> None:
    bins = [Bin(1, one / 100, 1) for one in range(50, 100)]
    sure, unsure = (
        threshold_of(bins, 0.8, Calibration(0, 1, (variance, 0.0, 0.0))) for variance in (0, 0.1)
    )
    assert sure is not None
    assert unsure is not None
    assert sure < unsure
