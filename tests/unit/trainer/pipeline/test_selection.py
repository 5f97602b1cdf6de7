"""The choice among candidates: the simplest of those that are not worse beyond chance."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.candidates.calibration import softmax
from trainer.pipeline.leaderboard import Entry
from trainer.pipeline.selection import Judged, choose, contrast, losses, mean_figures
from trainer.release.evaluation import Figures

ROWS, CLASSES = 600, 4
GENERATOR = np.random.default_rng(0)
TARGETS = GENERATOR.integers(0, CLASSES, ROWS)
NOISE = GENERATOR.normal(0, 1, (1, ROWS, CLASSES))


def scores(strength: float, spread: float = 0.0, seed: int = 1) -> NDArray[np.float32]:
    """Return scores of an expert; `spread` is what it has of its own, beside the common noise."""
    own = np.random.default_rng(seed).normal(0, spread, (1, ROWS, CLASSES))
    logits = NOISE + own + strength * np.eye(CLASSES)[TARGETS]
    found: NDArray[np.float32] = softmax(logits[0])[None].astype(np.float32)
    return found


def judged(name: str, found: NDArray[np.float32], latency: float, note: str = "") -> Judged:
    figures = Figures(ROWS, 0.8, 0.8, 0.02, 0.7)
    return Judged(Entry(name, "text", figures, latency_ms=latency, note=note), found)


def chosen(*candidates: Judged, budget_ms: float = 10) -> str | None:
    best = choose(candidates, TARGETS, budget_ms=budget_ms)
    return best.entry.name if best else None


def test_slow_candidate_is_chosen_if_it_is_better_beyond_chance() -> None:
    assert chosen(judged("quick", scores(1.5), 1), judged("slow", scores(2.5), 9)) == "slow"


def test_cheaper_candidate_is_chosen_if_the_difference_is_chance() -> None:
    # Given a slow candidate with a slightly lower log loss on these rows
    quick, slow = scores(2.0, 0.2, 1), scores(2.02, 0.2, 2)
    assert losses(slow, TARGETS).mean() < losses(quick, TARGETS).mean()
    # Then the quick one serves, whichever comes first
    assert chosen(judged("quick", quick, 1), judged("slow", slow, 9)) == "quick"
    assert chosen(judged("slow", slow, 9), judged("quick", quick, 1)) == "quick"


def test_cheap_candidate_with_a_lower_f1_is_no_equal() -> None:
    # Given a quick candidate that errs in two of three rows but hesitates there: its log loss is
    # that of one that is always right, by chance
    right = np.eye(CLASSES)[TARGETS]
    wrong = np.roll(right, 1, axis=1)
    is_sure = (np.arange(ROWS) % 3 == 0)[:, None]
    slow = 0.6 * right + 0.4 * wrong
    quick = np.where(is_sure, 0.98 * right + 0.02 * wrong, 0.468 * right + 0.532 * wrong)
    pair = [one[None].astype(np.float32) for one in (slow, quick)]
    assert contrast(pair[1], pair[0], TARGETS).beyond_chance == "F1"
    # Then it is not chosen
    assert chosen(judged("slow", pair[0], 9), judged("quick", pair[1], 1)) == "slow"


def test_first_of_the_line_up_is_chosen_if_all_are_alike() -> None:
    same = scores(2.0)
    assert chosen(judged("simple", same, 0.02), judged("complex", same, 0.01)) == "simple"


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(0.9, "pool_cascade"), (0.6, "pool")],
    ids=["as good", "worse"],
)
def test_cascade_serves_if_it_answers_as_well_as_its_pool(confidence: float, expected: str) -> None:
    quick, pool = scores(2.5, 0.6), scores(4.0)
    cascade = np.where(quick.max(axis=2, keepdims=True) >= confidence, quick, pool)
    # Its log loss is higher beyond chance: one model knows less of a row than all.
    assert contrast(cascade, pool, TARGETS).log_loss.is_above_zero
    slow = [judged("pool", pool, 9), judged("pool_cascade", cascade, 5)]
    assert chosen(judged("quick", quick, 1), *slow) == expected


def test_cascade_with_too_high_a_log_loss_does_not_serve() -> None:
    pool = scores(4.0)
    # It has the same answers with a low confidence.
    hesitant = (0.7 * pool + 0.3 / CLASSES).astype(np.float32)
    pair = judged("pool", pool, 9), judged("pool_cascade", hesitant, 5)
    assert not contrast(hesitant, pool, TARGETS).f1.is_below_zero
    assert chosen(*pair) == "pool"


def test_candidate_over_budget_is_not_chosen() -> None:
    assert chosen(judged("slow", scores(3.0), 11), judged("quick", scores(1.0), 1)) == "quick"
    assert chosen(judged("slow", scores(3.0), 11)) is None


def test_candidate_that_cannot_be_served_is_not_chosen() -> None:
    offline = judged("offline", scores(3.0), 1, note="not served")
    assert chosen(offline) is None
    assert chosen(offline, judged("served", scores(1.0), 1)) == "served"


def test_figures_of_repeats_are_averaged() -> None:
    figures = [Figures(10, 0.8, 0.7, 0.1, 1.0), Figures(10, 0.6, 0.5, 0.3, 2.0)]
    found = mean_figures(figures)
    assert found.rows == 10
    assert (found.f1_plain, found.f1_official) == pytest.approx((0.7, 0.6))
    assert (found.calibration_error, found.log_loss) == pytest.approx((0.2, 1.5))


def test_losses_are_those_of_the_true_category_over_all_repeats() -> None:
    two = np.concatenate([scores(1.0), scores(3.0)])
    found = losses(two, TARGETS)
    true = two[:, np.arange(ROWS), TARGETS]
    np.testing.assert_allclose(found, -(np.log(true[0]) + np.log(true[1])) / 2, rtol=1e-5)
