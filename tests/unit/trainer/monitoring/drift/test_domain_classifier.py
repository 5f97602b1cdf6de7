"""Effects and p-values on samples whose difference is known."""

import numpy as np
import pytest

from trainer.monitoring.drift.domain_classifier import (
    mix_moved,
    share_moved,
    shares_moved,
    tell_apart,
)

CLASSES = 27


def mixes(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.full(CLASSES, 5.0))
    return generator.multinomial(1_500, shares), generator.multinomial(size, shares)


@pytest.mark.parametrize("size", [200, 1_000, 5_000])
def test_a_mix_that_did_not_move_has_no_effect_whatever_its_size(size: int) -> None:
    found = [mix_moved(*mixes(seed, size)) for seed in range(60)]
    assert np.mean([one.effect for one in found]) < 0.03
    # The p-value is that of a true test: uniform, where nothing moved
    assert 0.3 < np.mean([one.p_value for one in found]) < 0.7


def test_the_plain_index_would_be_noise() -> None:
    def plain(there: np.ndarray, here: np.ndarray) -> float:
        p, q = (there + 0.5) / (there + 0.5).sum(), (here + 0.5) / (here + 0.5).sum()
        return float(((q - p) * np.log(q / p)).sum())

    pairs = [mixes(seed, 200) for seed in range(60)]
    assert np.mean([plain(*pair) for pair in pairs]) > 0.1
    assert np.mean([mix_moved(*pair).effect for pair in pairs]) < 0.03


def test_a_mix_that_moved_is_seen_and_its_categories_named() -> None:
    generator = np.random.default_rng(0)
    there = np.full(CLASSES, 60)
    shares = np.full(CLASSES, 1.0)
    shares[[4, 9]] = 6.0
    here = generator.multinomial(1_000, shares / shares.sum())
    found = mix_moved(there, here)
    assert found.effect > 0.25
    assert found.p_value < 1e-9
    assert set(shares_moved(there, here)[:2].tolist()) == {4, 9}


def test_few_categories_are_named_where_nothing_moved() -> None:
    named = [len(shares_moved(*mixes(seed, 1_000))) > 0 for seed in range(60)]
    assert np.mean(named) < 0.15


def test_a_mix_of_nothing_has_not_moved() -> None:
    nothing = np.zeros(CLASSES, np.int64)
    assert mix_moved(np.full(CLASSES, 60), nothing).p_value == 1
    assert mix_moved(nothing, nothing).effect == 0


def test_a_classifier_that_can_only_guess_has_no_effect() -> None:
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(1_400, 12))
    told = tell_apart(rows[:1_000], rows[1_000:])
    assert told.difference.effect < 0.08
    assert told.difference.p_value > 0.01


def test_rows_that_differ_are_told_apart_and_the_strangest_named() -> None:
    generator = np.random.default_rng(2)
    there, here = generator.normal(size=(1_000, 12)), generator.normal(size=(300, 12))
    here[:100, 3] += 4
    told = tell_apart(there, here)
    assert told.difference.effect > 0.2
    assert told.difference.p_value < 1e-6
    assert set(np.argsort(-told.window)[:20].tolist()) <= set(range(100))


def test_a_share_that_rose_has_a_positive_effect() -> None:
    risen, fallen = share_moved(10, 1_000, 100, 1_000), share_moved(100, 1_000, 10, 1_000)
    assert risen.effect == pytest.approx(-fallen.effect)
    assert risen.effect == pytest.approx(2 * (np.arcsin(0.1**0.5) - np.arcsin(0.01**0.5)))
    assert risen.p_value < 1e-9


@pytest.mark.parametrize("counts", [(0, 0, 3, 10), (3, 10, 0, 0), (0, 10, 0, 20), (10, 10, 20, 20)])
def test_shares_of_nothing_or_of_all_have_not_moved(counts: tuple[int, int, int, int]) -> None:
    assert share_moved(*counts).p_value == 1
