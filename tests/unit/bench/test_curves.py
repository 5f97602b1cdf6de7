"""Learning curves on made-up rows."""

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import InvalidInput
from tests.bench.quality.curves.images import candidate_named
from tests.bench.quality.curves.points import (
    PARTS,
    Needed,
    Point,
    continued,
    eighths_of,
    needed_rows,
    places_of,
)
from tests.bench.quality.curves.texts import candidates_named

Places = NDArray[np.int64]
#: Test rows, all of which two categories share.
TARGETS = np.arange(2_000) % 2


def point(rows: int, wrong: int, seeds: int = 1) -> Point:
    """Return answers of which so many are wrong, the same number in both categories."""
    answers = np.where(np.arange(len(TARGETS)) < wrong, 1 - TARGETS, TARGETS)
    return Point(rows, {"test": np.repeat(answers[None], seeds, axis=0)})


def test_smaller_part_lies_within_the_larger_with_its_share_of_each_stratum() -> None:
    strata = np.repeat([0, 1, 2], [80, 160, 9])
    parts = [places_of(strata, eighths, seed=1) for eighths in (1, 2, 4, PARTS)]
    for smaller, larger in pairwise(parts):
        assert set(smaller) < set(larger)
    assert list(parts[-1]) == list(range(len(strata)))
    assert np.bincount(strata[parts[1]])[:2].tolist() == [20, 40]
    assert not np.array_equal(places_of(strata, 2, seed=2), parts[1])


@pytest.mark.parametrize(("share", "eighths"), [(12.5, 1), (25, 2), (50, 4), (100, 8)])
def test_share_is_a_number_of_eighths(share: float, eighths: int) -> None:
    assert eighths_of(share) == eighths


@pytest.mark.parametrize("share", [0, 10, 112.5, -25, math.nan])
def test_other_shares_are_refused(share: float) -> None:
    with pytest.raises(InvalidInput, match=r"multiples of 12\.5 up to 100\. Received"):
        eighths_of(share)


def test_unknown_candidate_is_refused_with_the_known_ones() -> None:
    assert [one.name for one in candidates_named(["text_rnn"])] == ["text_rnn"]
    with pytest.raises(InvalidInput, match=r"text_ngrams, .*Received: text_none"):
        candidates_named(["text_ngrams", "text_none"])


def test_unknown_image_candidate_is_refused_with_the_known_ones() -> None:
    assert candidate_named("image_xception").name == "image_xception"
    with pytest.raises(InvalidInput, match=r"image_efficientnet_lite0, .*Received: image_none"):
        candidate_named("image_none")


def test_curve_is_continued_by_its_power_law() -> None:
    # Given an error of 8 / sqrt(rows), and one that rises
    sizes = np.array([400, 1_600, 6_400])
    errors = np.stack([8 / np.sqrt(sizes), 0.1 * np.sqrt(sizes / 400)])
    rows, exponents = continued(sizes, errors, 0.05)
    np.testing.assert_allclose(exponents, [0.5, -0.5])
    np.testing.assert_allclose(rows, [(8 / 0.05) ** 2, np.inf])


def test_rows_for_a_target_have_an_interval_over_the_test_rows() -> None:
    # Given errors of .4, .2 and .1, each with four times the rows of the one before
    points = [point(100, 800, seeds=2), point(400, 400, seeds=2), point(1_600, 200, seeds=2)]
    found = needed_rows(TARGETS, points, 0.95)
    # Then .05 takes four times as many again, and other test rows would say a bit else
    assert found.rows == pytest.approx(6_400, rel=1e-6)
    assert found.doubling == pytest.approx(math.sqrt(0.5), rel=1e-6)
    assert 4_000 < found.low < 6_000
    assert 7_000 < found.high < 11_000
    assert found.text().startswith(f"6,400 rows ({found.low:,.0f} to {found.high:,.0f}); twice")


def test_curve_is_continued_on_the_rows_that_are_named() -> None:
    points = [point(100, 800), point(400, 400)]
    named = [Point(one.rows, {"images": one.answers["test"]}) for one in points]
    assert needed_rows(TARGETS, named, 0.9, "images") == needed_rows(TARGETS, points, 0.9)


def test_huge_numbers_of_rows_are_not_printed() -> None:
    found = Needed(rows=5_000, low=100, high=1e80, doubling=0.9)
    assert found.text("images").startswith("5,000 images (100 to more than 1,000,000,000); twice")


def test_flat_curve_never_reaches_the_target() -> None:
    found = needed_rows(TARGETS, [point(100, 400), point(400, 410)], 0.95)
    assert found.rows == math.inf
    assert found.doubling > 1
    assert found.text().startswith("inf rows")


@pytest.mark.parametrize(
    ("points", "target", "message"),
    [
        ([point(100, 400)], 0.9, "at least two shares"),
        ([point(100, 400), point(100, 300)], 0.9, "at least two shares"),
        ([point(100, 400), point(200, 300)], 1.0, "between 0 and 1. Received: 1"),
    ],
)
def test_curve_without_a_continuation_is_refused(
    points: list[Point], target: float, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        needed_rows(TARGETS, points, target)
