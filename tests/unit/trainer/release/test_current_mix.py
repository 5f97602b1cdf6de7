"""The current mix: weights of rows, and categories that a model gives up."""

import numpy as np
import pytest

from trainer.release.current_mix import LEAST_KEPT_ROWS, Mix, given_up


def test_weighted_rows_have_the_current_mix() -> None:
    mix = Mix(np.array([0.1, 0.3, 0.6]), np.full(3, 1 / 3), 100)
    targets = np.array([0] * 50 + [1] * 40 + [2] * 10)
    weights = mix.weights(targets)
    shares = np.bincount(targets, weights) / weights.sum()
    np.testing.assert_allclose(shares, mix.now)
    assert weights.sum() == pytest.approx(len(targets))


def test_category_without_rows_leaves_the_weights_of_the_others_finite() -> None:
    mix = Mix(np.array([0.5, 0.5]), np.array([0.9, 0.1]), 100)
    np.testing.assert_allclose(mix.weights(np.zeros(4, np.int64)), 0.5)


@pytest.mark.parametrize(
    ("rows", "right", "expected"),
    [(100, 80, []), (100, 20, [10]), (LEAST_KEPT_ROWS - 1, 1, [])],
    ids=["kept", "given up", "few rows"],
)
def test_category_is_given_up_if_most_of_its_f1_is_lost(
    rows: int, right: int, expected: list[int]
) -> None:
    targets = np.array([10] * rows + [20] * 200)
    after = np.where(np.arange(rows + 200) < rows - right, 20, targets)
    assert given_up(targets, targets, after) == expected


def test_category_that_was_never_answered_is_not_given_up() -> None:
    targets = np.array([10] * 50 + [20] * 50)
    assert given_up(targets, np.full(100, 20), np.full(100, 20)) == []
