"""Intervals hold the true value as often as they claim, and pairs make differences precise."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from trainer.release import intervals
from trainer.release.intervals import f1_difference, f1_interval, mean_interval

GENERATOR = np.random.default_rng(5)
CODES = GENERATOR.integers(0, 5, 400)


def answers(share: float, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    generator = np.random.default_rng(seed)
    wrong = generator.random(len(CODES)) >= share
    return np.where(wrong, (CODES + 1) % 5, CODES)


def test_f1_is_that_of_scikit_learn_within_its_interval() -> None:
    found = f1_interval(CODES, answers(0.8, 1)[None])
    assert found.value == pytest.approx(f1_score(CODES, answers(0.8, 1), average="weighted"))
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(4 * np.sqrt(0.8 * 0.2 / 400), rel=0.2)


def test_f1_of_repeats_is_their_mean() -> None:
    several = np.stack([answers(0.8, 1), answers(0.6, 2)])
    one_by_one = [f1_interval(CODES, one[None]).value for one in several]
    assert f1_interval(CODES, several).value == pytest.approx(np.mean(one_by_one))


def test_difference_of_pairs_is_narrower_than_either_interval() -> None:
    # Given a second model that is right for a fifth of the rows and else as the first
    first = answers(0.8, 1)
    second = np.where(np.arange(len(CODES)) % 5, first, CODES)
    found = f1_difference(CODES, second[None], first[None])
    alone = f1_interval(CODES, first[None])
    assert found.is_above_zero
    assert found.high - found.low < 0.6 * (alone.high - alone.low)
    back = f1_difference(CODES, first[None], second[None])
    assert back.is_below_zero
    assert back.value == pytest.approx(-found.value)


def test_difference_of_a_model_to_itself_is_zero() -> None:
    same = answers(0.8, 1)[None]
    found = f1_difference(CODES, same, same)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert not found.is_above_zero
    assert not found.is_below_zero


def test_interval_of_a_mean_holds_it_nineteen_times_of_twenty() -> None:
    held = 0
    for seed in range(60):
        values = np.random.default_rng(seed).normal(0.3, 1, 40)
        found = mean_interval(values)
        held += found.low <= 0.3 <= found.high
    assert 53 <= held <= 59


def test_chunks_bound_the_memory_but_not_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = f1_interval(CODES, answers(0.8, 1)[None])
    monkeypatch.setattr(intervals, "CHUNK", 100)
    assert f1_interval(CODES, answers(0.8, 1)[None]) == whole


def test_interval_is_written_with_its_sign_if_it_is_a_difference() -> None:
    found = mean_interval(np.array([0.5]))
    assert found.text() == "0.5000 (0.500–0.500)"
    assert found.text(signed=True) == "+0.5000 (+0.5000 to +0.5000)"
