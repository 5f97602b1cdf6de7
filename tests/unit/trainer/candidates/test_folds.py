"""Cross-validation: every row is scored once a repeat, by a fit that did not see it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.candidates.folds import folds_of, out_of_fold, strata_of

Integers = NDArray[np.int64]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=80), st.integers(2, 7))
@settings(max_examples=60)
def test_rows_of_every_stratum_are_spread_evenly(strata: list[int], folds: int) -> None:
    found = folds_of(np.array(strata), folds, np.random.default_rng(0))
    for rows in [*(np.array(strata) == one for one in set(strata)), np.full(len(strata), True)]:
        counts = np.bincount(found[rows], minlength=folds)
        assert counts.max() - counts.min() <= 1


@given(st.integers(1, 40), st.integers(1, 4))
@settings(max_examples=30)
def test_every_row_is_scored_without_itself_in_every_repeat(rows: int, repeats: int) -> None:
    seen: list[tuple[Integers, Integers]] = []

    def score(fit_on: Integers, others: Integers) -> NDArray[np.float32]:
        seen.append((fit_on, others))
        return np.stack([others, others], axis=1).astype(np.float32)

    found = out_of_fold(np.zeros(rows, np.int64), score, seed=3, repeats=repeats)
    np.testing.assert_array_equal(found[:, :, 0], np.tile(np.arange(rows), (repeats, 1)))
    if rows > 1:
        for fit_on, others in seen:
            assert set(fit_on) | set(others) == set(range(rows))
            assert not set(fit_on) & set(others)


def test_repeats_divide_the_rows_differently_and_reproducibly() -> None:
    def divided() -> NDArray[np.float32]:
        def score(fit_on: Integers, others: Integers) -> NDArray[np.float32]:
            return np.full((len(others), 1), others.min(), np.float32)

        return out_of_fold(np.zeros(50, np.int64), score, seed=1)

    found = divided()
    assert (found[0] != found[1]).any()
    np.testing.assert_array_equal(found, divided())


def test_tuning_on_noise_gains_nothing_where_it_is_measured() -> None:
    # Given labels without any relation to the rows, and a "model" that learns its rows by heart
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, 400)

    def score(fit_on: Integers, others: Integers) -> NDArray[np.float32]:
        known = np.isin(others, fit_on)
        guess = generator.random(len(others))
        right = np.where(known, targets[others], guess)
        return np.stack([1 - right, right], axis=1).astype(np.float32)

    # Then it is right for half of the rows: no row was known to the fit that scored it
    found = out_of_fold(targets, score, seed=0).argmax(axis=2)
    assert (found == targets).mean() == pytest.approx(0.5, abs=0.06)
    assert (score(np.arange(400), np.arange(400)).argmax(axis=1) == targets).all()


def test_official_and_weak_rows_of_a_category_are_different_strata() -> None:
    strata = strata_of(np.array([3, 3, 4]), np.array([True, False, False]))
    assert len(set(strata)) == 3
