from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from shared.inference.releases.fusion_model import FusionModel
from trainer.candidates import shrunken_pool
from trainer.candidates.calibration import fit_temperature, fit_weights, log_loss, softmax
from trainer.candidates.fusion import stacking
from trainer.candidates.fusion.cross_validation import cross_validated
from trainer.candidates.fusion.pools import (
    Evidence,
    FusionCandidate,
    LogLinear,
    TextAlone,
    WeightedMean,
)
from trainer.candidates.fusion.stacking import Stacking, StackingSettings
from trainer.candidates.shrunken_pool import Reach

FITTED: list[FusionCandidate] = [
    WeightedMean(),
    LogLinear(),
    Stacking(),
    Stacking("own", reach="own"),
]
GENERATOR = np.random.default_rng(0)
TARGETS = GENERATOR.integers(0, 4, 800)


def expert(strength: float) -> NDArray[np.float32]:
    logits = GENERATOR.normal(0, 1, (800, 4)) + strength * np.eye(4)[TARGETS]
    return softmax(logits.astype(np.float32))


def test_temperature_undoes_overconfidence() -> None:
    probabilities = expert(2.0)
    right = fit_temperature(np.log(probabilities), TARGETS)
    assert fit_temperature(3 * np.log(probabilities), TARGETS) == pytest.approx(3 * right, rel=0.01)


def fit_fusion(
    text: NDArray[np.float32],
    image: NDArray[np.float32],
    targets: NDArray[np.int64],
    is_official: NDArray[np.bool_],
    candidate: FusionCandidate | None = None,
) -> FusionModel:
    nothing = np.zeros((len(targets), 0), np.float32)
    evidence = Evidence(text, image, nothing, nothing, targets, is_official)
    model = (candidate or LogLinear()).fit(evidence, 0)
    assert isinstance(model, FusionModel)
    return model


ALL, NONE = np.ones(800, bool), np.zeros(800, bool)


@pytest.mark.parametrize(("text", "image"), [(3.0, 0.5), (0.5, 3.0)])
def test_better_expert_gets_more_weight(text: float, image: float) -> None:
    model = fit_fusion(expert(text), expert(image), TARGETS, NONE)
    assert (model.text_weights[0] > model.image_weights[0]) == (text > image)


def test_fitted_weights_are_a_minimum() -> None:
    text, image = expert(2.0), expert(1.5)
    model = fit_fusion(text, image, TARGETS, NONE)
    at_fit = log_loss(model.combine(text, image), TARGETS)
    for name in ("text_weights", "image_weights"):
        for factor in (0.9, 1.1):
            moved = replace(model, **{name: factor * getattr(model, name)})
            assert log_loss(moved.combine(text, image), TARGETS) > at_fit


def test_useless_expert_gets_no_weight() -> None:
    noise = softmax(GENERATOR.normal(0, 1, (800, 4)).astype(np.float32))
    assert fit_fusion(expert(2.0), noise, TARGETS, NONE).image_weights[0] < 0.1


def test_confidence_follows_the_official_rows() -> None:
    # Given weakly labelled rows, where the text is right, and official rows, where it often errs
    text, image = expert(3.0), expert(1.0)
    targets = TARGETS.copy()
    is_official = np.arange(800) < 200
    targets[:100] = GENERATOR.integers(0, 4, 100)
    # When a fusion is fitted without and with the official labels
    easy = fit_fusion(text, image, targets, NONE)
    careful = fit_fusion(text, image, targets, is_official)
    # Then the proportion is the same, and the official rows lower the confidence
    assert careful.text_weights[0] < easy.text_weights[0]
    assert careful.text_weights[0] / careful.image_weights[0] == pytest.approx(
        easy.text_weights[0] / easy.image_weights[0], rel=1e-3
    )


@pytest.mark.parametrize("candidate", FITTED)
def test_fusion_is_better_than_either_expert(candidate: FusionCandidate) -> None:
    text, image = expert(2.0), expert(1.5)
    fused = fit_fusion(text, image, TARGETS, ALL, candidate).combine(text, image)
    np.testing.assert_allclose(fused.sum(axis=1), 1, atol=1e-5)
    assert log_loss(fused, TARGETS) < min(log_loss(text, TARGETS), log_loss(image, TARGETS))


@pytest.mark.parametrize("candidate", FITTED)
def test_saved_fusion_is_loaded_unchanged(candidate: FusionCandidate, tmp_path: Path) -> None:
    text, image = expert(2.0), expert(1.5)
    model = fit_fusion(text, image, TARGETS, ALL, candidate)
    model.save(tmp_path)
    again = FusionModel.load(tmp_path)
    np.testing.assert_allclose(again.combine(text, image), model.combine(text, image), atol=1e-6)


@pytest.mark.parametrize("reach", ["own", "all"])
def test_category_without_rows_is_answered_as_by_the_pool(reach: Reach) -> None:
    text, image = expert(2.0), expert(1.5)
    few, others = np.flatnonzero(TARGETS < 2), np.flatnonzero(TARGETS == 3)
    stacked, pooled = (
        fit_fusion(text[few], image[few], TARGETS[few], ALL[few], candidate)
        .combine(text[others], image[others])
        .argmax(axis=1)
        for candidate in (Stacking(reach=reach), LogLinear())
    )
    assert (stacked == 3).mean() > (pooled == 3).mean() - 0.05


@pytest.mark.parametrize("reach", ["own", "all"])
def test_strong_penalty_leaves_the_pool(reach: Reach) -> None:
    text, image = expert(2.0), expert(1.5)
    strong = Stacking(reach=reach, settings=StackingSettings((1e6,)))
    found = fit_fusion(text, image, TARGETS, NONE, strong).combine(text, image)
    pool = fit_fusion(text, image, TARGETS, NONE).combine(text, image)
    np.testing.assert_allclose(found, pool, atol=1e-3)


@pytest.mark.usefixtures("one_division")
@pytest.mark.parametrize("reach", ["own", "all"])
def test_penalty_follows_the_evidence(reach: Reach) -> None:
    # Given an image model that knows one category by heart and guesses the others
    text = expert(1.5)
    sharp, noise = expert(6.0), softmax(GENERATOR.normal(0, 1, (800, 4)).astype(np.float32))
    image = np.where((TARGETS == 0)[:, None], sharp, noise)
    candidates = (LogLinear(), Stacking(reach=reach))
    evidence = Evidence(text, image, *(np.zeros((800, 0), np.float32),) * 2, TARGETS, ALL)
    # Then weights by category are better on rows that they were not fitted on
    pool, stacked = (
        np.mean([log_loss(one, TARGETS) for one in cross_validated(candidate, evidence, 0)])
        for candidate in candidates
    )
    assert stacked < 0.9 * pool


@pytest.mark.usefixtures("one_division")
@pytest.mark.parametrize("reach", ["own", "all"])
def test_weights_by_category_do_no_harm_where_all_categories_are_alike(reach: Reach) -> None:
    evidence = Evidence(
        expert(2.0), expert(1.5), *(np.zeros((800, 0), np.float32),) * 2, TARGETS, ALL
    )
    pool, stacked = (
        np.mean([log_loss(one, TARGETS) for one in cross_validated(candidate, evidence, 0)])
        for candidate in (LogLinear(), Stacking(reach=reach))
    )
    assert stacked < 1.02 * pool


def test_weights_by_category_are_fitted_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    minimize = scipy.optimize.minimize

    def watched(*args: Any, **settings: Any) -> Any:
        threads.update(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return minimize(*args, **settings)

    monkeypatch.setattr(shrunken_pool, "minimize", watched)
    with threadpool_limits(limits=2, user_api="blas"):
        fit_fusion(expert(2.0), expert(1.5), TARGETS, ALL, Stacking())
    assert threads == {1}


def test_too_many_categories_get_only_their_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    text, image = expert(2.0), expert(1.5)
    assert fit_fusion(text, image, TARGETS, ALL, Stacking()).text_weights.ndim == 2
    monkeypatch.setattr(stacking, "LARGEST", 800 * 4 * 4 - 1)
    assert fit_fusion(text, image, TARGETS, ALL, Stacking()).text_weights.ndim == 1


def test_text_alone_answers_as_the_text_model_does() -> None:
    text, image = expert(1.0), expert(3.0)
    found = fit_fusion(text, image, TARGETS, ALL, TextAlone()).combine(text, image)
    np.testing.assert_allclose(found, text, atol=1e-6)


def test_pool_of_models_is_better_than_each_model() -> None:
    logs = [np.log(expert(2.0)), np.log(expert(1.5)), np.log(expert(0.0))]
    weights = fit_weights(logs, TARGETS)
    stacked = np.stack([weight * one for weight, one in zip(weights, logs, strict=True)])
    pooled = softmax(stacked.sum(axis=0))
    assert weights[2] < 0.15
    assert log_loss(pooled, TARGETS) < min(log_loss(np.exp(one), TARGETS) for one in logs)
