"""Looks and exact tests: their levels, their bounds, and the rate of false alarms."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trainer.monitoring.promotion_watch.exact_tests import (
    above_share,
    highest_share,
    loses_more,
    more_often,
    slower,
)
from trainer.monitoring.promotion_watch.looks import FIRST_ROWS, Looks

#: Sequences of answers of one simulation.
SEQUENCES = 4_000
looks_of = st.builds(
    Looks, st.integers(25, 5_000), st.integers(1, 20), st.floats(0.0001, 0.5, exclude_max=True)
)


@given(looks=looks_of)
def test_looks_double_until_the_last_rows(looks: Looks) -> None:
    assert looks.sizes[0] == FIRST_ROWS
    assert looks.sizes[-1] == looks.most_rows
    assert all(2 * one == other for one, other in pairwise(looks.sizes[:-1]))


@given(looks=looks_of)
def test_levels_of_all_looks_and_measures_add_up_to_the_error_probability(looks: Looks) -> None:
    total = looks.level * len(looks.sizes) * looks.measures
    assert total == pytest.approx(looks.false_alarms)


@given(looks=looks_of, steps=st.lists(st.integers(1, 400), min_size=1, max_size=200))
def test_rows_that_arrive_in_groups_never_get_more_looks_than_planned(
    looks: Looks, steps: list[int]
) -> None:
    rows = looked = taken = 0
    for step in steps:
        rows += step
        if looks.is_due(rows, looked):
            looked, taken = rows, taken + 1
    assert taken <= len(looks.sizes)
    assert not looks.is_due(rows, looked)


@given(
    counts=st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
)
def test_rise_is_tested_as_by_fisher(counts: tuple[int, int, int, int]) -> None:
    count, rest, count_before, rest_before = counts
    table = [[count, rest], [count_before, rest_before]]
    expected = float(stats.fisher_exact(table, alternative="greater").pvalue)
    found = more_often(count, count + rest, count_before, count_before + rest_before)
    assert found == pytest.approx(expected, abs=1e-9)


@given(lost=st.integers(0, 200), won=st.integers(0, 200))
def test_lost_and_won_pairs_are_symmetric(lost: int, won: int) -> None:
    # One of both directions holds, and both hold for the tie.
    tie = float(stats.binom.pmf(lost, lost + won, 0.5)) if lost + won else 1.0
    assert loses_more(lost, won) + loses_more(won, lost) == pytest.approx(1 + tie)


@given(rows=st.integers(1, 400), data=st.data())
def test_true_share_is_rarely_above_the_upper_end(rows: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, rows))
    high = highest_share(count, rows)
    assert count / rows <= high <= 1
    # At the upper end, as few events as these happen once in forty samples.
    if count < rows:
        assert float(stats.binom.cdf(count, rows, high)) == pytest.approx(0.025, abs=1e-6)


def test_slower_needs_times_of_both() -> None:
    assert slower([], [1.0]) == slower([1.0], []) == 1.0
    assert slower([5.0] * 30, [1.0] * 30) < 1e-6 < slower([1.0] * 30, [1.0] * 30)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.45, 0.9])
def test_repeated_looks_at_a_share_keep_the_error_probability(share: float) -> None:
    # Given answers that differ exactly as often as allowed, at ten times the usual probability
    looks = Looks(400, 1, 0.1)
    events = np.random.default_rng(7).random((SEQUENCES, 400)) < share
    counts = events.cumsum(axis=1)
    level, found = looks.level, np.zeros(SEQUENCES, bool)
    for size in looks.sizes:
        found |= stats.binom.sf(counts[:, size - 1] - 1, size, share) <= level
        one = int(counts[0, size - 1])
        assert above_share(one, size, share) == pytest.approx(stats.binom.sf(one - 1, size, share))
    # Then no more sequences than allowed are found worse, and one look alone would find more
    assert found.mean() <= looks.false_alarms
    assert _without_levels(counts, looks, share) > found.mean()


def test_repeated_looks_at_a_rise_keep_the_error_probability() -> None:
    looks = Looks(400, 1, 0.1)
    random = np.random.default_rng(11)
    after = (random.random((SEQUENCES, 400)) < 0.1).cumsum(axis=1)
    before = (random.random((SEQUENCES, 400)) < 0.1).sum(axis=1)
    found = np.zeros(SEQUENCES, bool)
    for size in looks.sizes:
        count = after[:, size - 1]
        found |= stats.hypergeom.sf(count - 1, size + 400, count + before, size) <= looks.level
    assert found.mean() <= looks.false_alarms


def test_independent_answers_are_found_at_the_first_look() -> None:
    # Twenty-seven categories at random, against a release that is right four times in five.
    looks = Looks(400, 7, 0.01)
    differing = np.random.default_rng(3).binomial(FIRST_ROWS, 26 / 27, 1_000)
    found = [above_share(int(count), FIRST_ROWS, 0.41) <= looks.level for count in differing]
    assert np.mean(found) > 0.99


def _without_levels(counts: np.ndarray, looks: Looks, share: float) -> float:
    """Return the share of sequences that looks at the full level would find worse."""
    found = np.zeros(len(counts), bool)
    for size in looks.sizes:
        found |= stats.binom.sf(counts[:, size - 1] - 1, size, share) <= looks.false_alarms
    return float(found.mean())
