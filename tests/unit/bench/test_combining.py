"""Ideas to combine models find what they are meant to find."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.bench.quality.combining.ideas import Idea, pair_ideas, text_ideas
from tests.bench.quality.combining.outcomes import outcome_of
from tests.bench.quality.combining.scores import Rows, Scored
from trainer.candidates.calibration import log_loss, logs, softmax

CLASSES, COUNT = 4, 900
GENERATOR = np.random.default_rng(0)
IDEAS = {idea.name: idea for idea in [*text_ideas(["text", "image"]), *pair_ideas()]}


def rows(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> Rows:
    inputs = np.stack([logs(softmax(one).astype(np.float32)) for one in logits])
    return Rows(inputs, targets, np.arange(len(targets)) % 3 > 0)


def halves(found: Rows) -> tuple[Rows, Rows]:
    places = np.arange(COUNT)
    return found.take(places[: COUNT // 2]), found.take(places[COUNT // 2 :])


def loss(idea: Idea, found: Rows) -> float:
    """Return the log loss on half of the rows by a fit on the other half."""
    fit_on, others = halves(found)
    scores = idea.score(fit_on, others)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-4)
    return log_loss(scores, others.targets)


@pytest.fixture(scope="module")
def experts() -> Rows:
    targets = GENERATOR.integers(0, CLASSES, COUNT)
    noise = GENERATOR.normal(0, 1, (2, COUNT, CLASSES))
    return rows(noise + np.array([2.0, 1.5])[:, None, None] * np.eye(CLASSES)[targets], targets)


@pytest.fixture(scope="module")
def fickle() -> Rows:
    """Rows where the first model either knows the answer and is sure, or guesses and is not."""
    targets = GENERATOR.integers(0, CLASSES, COUNT)
    noise = GENERATOR.normal(0, 1, (2, COUNT, CLASSES))
    strength = np.stack([np.where(GENERATOR.random(COUNT) < 0.5, 5.0, 0.0), np.full(COUNT, 2.0)])
    noise[0] *= np.where(strength[0] > 0, 1.0, 0.3)[:, None]
    return rows(noise + strength[:, :, None] * np.eye(CLASSES)[targets], targets)


@pytest.mark.parametrize(
    "name", [name for name in IDEAS if "alone" not in name and "zero" not in name]
)
def test_combination_is_better_than_each_model(name: str, experts: Rows) -> None:
    alone = min(loss(IDEAS[f"{one} alone"], experts) for one in ("text", "image"))
    assert loss(IDEAS[name], experts) < alone


def test_weight_in_a_mean_follows_the_confidence(fickle: Rows) -> None:
    gated, fixed = (
        loss(IDEAS[name], fickle)
        for name in ("mean, weight by confidence", "weighted mean of the probabilities")
    )
    assert gated < fixed - 0.02


def test_weights_in_a_pool_hardly_need_the_confidence(fickle: Rows) -> None:
    # A pool of log-probabilities weighs a model that is sure more by itself
    gated, fixed = (
        loss(IDEAS[name], fickle)
        for name in ("pool, weights by confidence", "log-linear pool, a weight by modality")
    )
    assert abs(gated - fixed) < 0.02


def test_official_rows_decide_the_pool_that_is_fitted_on_them(experts: Rows) -> None:
    # Given weakly labelled rows on which the second model is always right
    is_weak = ~experts.is_official
    sure = np.where(is_weak[:, None], 9.0 * np.eye(CLASSES)[experts.targets], experts.inputs[1])
    found = rows(np.stack([experts.inputs[0], sure]), experts.targets)
    fit_on, others = halves(found)
    others = others.take(np.flatnonzero(others.is_official))

    def loss_of(name: str) -> float:
        return log_loss(IDEAS[name].score(fit_on, others), others.targets)

    assert loss_of("pool fitted on official rows only") < loss_of(
        "log-linear pool, a weight by modality"
    )


def test_official_scores_are_of_held_out_rows_and_then_of_all_test_rows(experts: Rows) -> None:
    held, test = halves(experts)
    places = np.flatnonzero(held.is_official)
    outcome = outcome_of(IDEAS["text alone"], Scored(("text", "image"), held, test), repeats=2)
    scores = outcome.official(places)
    assert scores.shape == (2, len(places) + len(test.targets), CLASSES)
    # The model alone has nothing to fit but a temperature, which keeps the order of its answers.
    expected = np.concatenate([held.inputs[0, places], test.inputs[0]]).argmax(axis=1)
    assert (scores.argmax(axis=2) == expected).all()
