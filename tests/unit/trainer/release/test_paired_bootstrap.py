"""The paired bootstrap separates a real difference from chance, in both directions."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from shared.errors import InvalidInput
from trainer.release.paired_bootstrap import Outcome, Rule, Verdict, compare

Codes = NDArray[np.int64]

RULE = Rule(margin=0.002, confidence=0.95)


def answers(codes: Codes, right: float, seed: int) -> Codes:
    """Return answers that are right for a share of the rows, and another code elsewhere."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(len(codes)) >= right
    return np.where(wrong, generator.permutation(codes), codes)


def truth(rows: int = 4_000, classes: int = 27) -> Codes:
    # Uneven shares: the largest category has ten times the rows of the smallest.
    shares = np.linspace(1, 10, classes)
    return np.random.default_rng(7).choice(np.arange(classes) * 10, rows, p=shares / shares.sum())


THREE = st.integers(1, 40).flatmap(
    lambda rows: st.tuples(*(arrays.arrays(np.int64, rows, elements=st.integers(0, 4)),) * 3)
)


@given(THREE)
@settings(max_examples=60)
def test_swapping_the_releases_only_changes_the_sign(three: tuple[Codes, ...]) -> None:
    codes, one, other = three
    there = compare(codes, one, other, RULE, resamples=200)
    back = compare(codes, other, one, RULE, resamples=200)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-12)
    assert there.probability_better == pytest.approx(1 - back.probability_better)
    if there.outcome is Outcome.BETTER:
        assert back.outcome is Outcome.NOT_BETTER


@given(THREE)
@settings(max_examples=60)
def test_weighted_f1_equals_that_of_scikit_learn(three: tuple[Codes, ...]) -> None:
    codes, one, other = three
    verdict = compare(codes, one, other, RULE, resamples=2)
    for found, answered in ((verdict.champion_f1, one), (verdict.challenger_f1, other)):
        known = f1_score(codes, answered, average="weighted", zero_division=0.0)
        assert found == pytest.approx(known)


@given(st.integers(0, 1_000))
@settings(max_examples=20)
def test_the_same_answers_are_undecided(seed: int) -> None:
    codes = truth(200)
    same = answers(codes, 0.8, seed)
    verdict = compare(codes, same, same, RULE, resamples=200)
    assert verdict.outcome is Outcome.UNDECIDED
    assert (verdict.low, verdict.high, verdict.probability_better) == (0, 0, 0.5)


def test_better_release_is_better_and_the_worse_one_is_not() -> None:
    codes = truth()
    weak, strong = answers(codes, 0.80, 1), answers(codes, 0.84, 2)
    assert compare(codes, weak, strong, RULE).outcome is Outcome.BETTER
    assert compare(codes, strong, weak, RULE).outcome is Outcome.NOT_BETTER


def test_significant_gain_below_the_margin_is_undecided() -> None:
    codes = truth()
    weak = answers(codes, 0.80, 1)
    strong = weak.copy()
    wrong = np.flatnonzero(weak != codes)[:30]
    strong[wrong] = codes[wrong]
    tiny = compare(codes, weak, strong, Rule(margin=0.02, confidence=0.95))
    assert tiny.low > 0
    assert tiny.outcome is Outcome.UNDECIDED
    assert tiny.sentence().startswith("Undecided, the gain is below the margin: weighted F1 ")
    assert compare(codes, weak, strong, RULE).outcome is Outcome.BETTER


def test_difference_within_chance_is_undecided() -> None:
    codes = truth(300)
    verdict = compare(codes, answers(codes, 0.8, 1), answers(codes, 0.8, 2), RULE)
    assert verdict.outcome is Outcome.UNDECIDED
    assert verdict.low < 0 < verdict.high


def test_interval_contains_the_true_difference_at_its_confidence() -> None:
    codes = truth(20_000, classes=6)
    weak, strong = answers(codes, 0.80, 1), answers(codes, 0.82, 2)
    true = compare(codes, weak, strong, RULE, resamples=2).difference
    generator = np.random.default_rng(3)

    def contains() -> bool:
        rows = generator.choice(len(codes), 500)
        sample = compare(codes[rows], weak[rows], strong[rows], RULE, resamples=300)
        return sample.low <= true <= sample.high

    share = np.mean([contains() for _ in range(200)])
    # Three standard errors of a share of .95 over 200 tries.
    assert share == pytest.approx(0.95, abs=0.047)


def test_answers_in_unknown_categories_count_as_wrong() -> None:
    codes = truth()
    strong = answers(codes, 0.95, 1)
    other_set = np.where(strong >= 130, 9_999, strong)
    verdict = compare(codes, other_set, strong, RULE)
    assert verdict.outcome is Outcome.BETTER
    assert verdict.champion_f1 < 0.5 < verdict.challenger_f1


def test_four_thousand_rows_are_fast_and_equal_seeds_agree() -> None:
    codes = truth()
    weak, strong = answers(codes, 0.80, 1), answers(codes, 0.82, 2)
    started = time.process_time()
    verdict = compare(codes, weak, strong, RULE)
    # A generous limit, which only a slowdown by an order of magnitude exceeds.
    assert time.process_time() - started < 10
    assert compare(codes, weak, strong, RULE) == verdict


def test_sentence_and_figures_state_the_outcome() -> None:
    verdict = Verdict(0.80, 0.82, 0.01, 0.03, 0.999, 4_000, RULE)
    assert verdict.sentence() == (
        "Better: weighted F1 0.8200 against 0.8000 of the champion on the same 4000 rows, "
        "difference +0.0200 (95% interval +0.0100 to +0.0300, margin 0.0020), probability of "
        "being better 0.999"
    )
    assert verdict.figures()["outcome"] == "better"
    assert verdict.figures()["difference"] == pytest.approx(0.02)


@pytest.mark.parametrize("lengths", [(0, 0, 0), (3, 2, 3), (3, 3, 2)])
def test_rows_without_answers_are_rejected(lengths: tuple[int, int, int]) -> None:
    codes, one, other = (np.zeros(length, np.int64) for length in lengths)
    with pytest.raises(InvalidInput, match="Expected two answers"):
        compare(codes, one, other, RULE)
