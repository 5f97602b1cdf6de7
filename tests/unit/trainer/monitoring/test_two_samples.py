"""Effect sizes and p-values on samples with a known difference."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from trainer.monitoring.two_samples import (
    compare_mixes,
    compare_shares,
    domain_classifier_test,
    moved_categories,
)

CLASSES = 27


def mixes(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.full(CLASSES, 5.0))
    return generator.multinomial(1_500, shares), generator.multinomial(size, shares)


@pytest.mark.parametrize("size", [200, 1_000, 5_000])
def test_unchanged_mix_has_no_effect_at_any_size(size: int) -> None:
    differences = [compare_mixes(*mixes(seed, size)) for seed in range(60)]
    assert np.mean([difference.effect for difference in differences]) < 0.03
    # The p-value is valid: uniformly distributed without drift
    assert 0.3 < np.mean([difference.p_value for difference in differences]) < 0.7


def test_uncorrected_stability_index_is_noise_on_small_samples() -> None:
    def plain(there: np.ndarray, here: np.ndarray) -> float:
        p, q = (there + 0.5) / (there + 0.5).sum(), (here + 0.5) / (here + 0.5).sum()
        return float(((q - p) * np.log(q / p)).sum())

    pairs = [mixes(seed, 200) for seed in range(60)]
    assert np.mean([plain(*pair) for pair in pairs]) > 0.1
    assert np.mean([compare_mixes(*pair).effect for pair in pairs]) < 0.03


def test_changed_mix_is_detected_with_its_categories() -> None:
    generator = np.random.default_rng(0)
    there = np.full(CLASSES, 60)
    shares = np.full(CLASSES, 1.0)
    shares[[4, 9]] = 6.0
    here = generator.multinomial(1_000, shares / shares.sum())
    difference = compare_mixes(there, here)
    assert difference.effect > 0.25
    assert difference.p_value < 1e-9
    assert set(moved_categories(there, here)[:2].tolist()) == {4, 9}


def test_few_categories_are_reported_without_drift() -> None:
    reported = [len(moved_categories(*mixes(seed, 1_000))) > 0 for seed in range(60)]
    assert np.mean(reported) < 0.15


def test_empty_mix_has_not_moved() -> None:
    empty = np.zeros(CLASSES, np.int64)
    assert compare_mixes(np.full(CLASSES, 60), empty).p_value == 1
    assert compare_mixes(empty, empty).effect == 0


def test_domain_classifier_has_no_effect_on_equal_samples() -> None:
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(1_400, 12))
    result = domain_classifier_test(rows[:1_000], rows[1_000:])
    assert result.difference.effect < 0.08
    assert result.difference.p_value > 0.01


def test_domain_classifier_separates_samples_and_scores_the_least_similar_rows_highest() -> None:
    generator = np.random.default_rng(2)
    there, here = generator.normal(size=(1_000, 12)), generator.normal(size=(300, 12))
    here[:100, 3] += 4
    result = domain_classifier_test(there, here)
    assert result.difference.effect > 0.2
    assert result.difference.p_value < 1e-6
    assert set(np.argsort(-result.window)[:20].tolist()) <= set(range(100))


def test_risen_share_has_a_positive_effect() -> None:
    risen, fallen = compare_shares(10, 1_000, 100, 1_000), compare_shares(100, 1_000, 10, 1_000)
    assert risen.effect == pytest.approx(-fallen.effect)
    assert risen.effect == pytest.approx(2 * (np.arcsin(0.1**0.5) - np.arcsin(0.01**0.5)))
    assert risen.p_value < 1e-9


@pytest.mark.parametrize("counts", [(0, 0, 3, 10), (3, 10, 0, 0), (0, 10, 0, 20), (10, 10, 20, 20)])
def test_empty_and_full_shares_have_not_moved(counts: tuple[int, int, int, int]) -> None:
    assert compare_shares(*counts).p_value == 1


def test_domain_classifier_is_fitted_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    fit = LogisticRegression.fit

    def watched(*args: Any) -> Any:
        threads.update(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return fit(*args)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    generator = np.random.default_rng(0)
    with threadpool_limits(limits=2, user_api="blas"):
        domain_classifier_test(generator.normal(size=(300, 5)), generator.normal(size=(200, 5)))
    assert threads == {1}
