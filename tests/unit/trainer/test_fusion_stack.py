import numpy as np
import pytest

from trainer.models.fusion_stack import fit_fusion, fit_temperature, log_loss, softmax

GENERATOR = np.random.default_rng(0)
TARGETS = GENERATOR.integers(0, 4, 800)


def expert(strength: float) -> np.ndarray:
    logits = GENERATOR.normal(0, 1, (800, 4)) + strength * np.eye(4)[TARGETS]
    return softmax(logits).astype(np.float32)


def test_temperature_undoes_overconfidence() -> None:
    probabilities = expert(2.0)
    right = fit_temperature(np.log(probabilities), TARGETS)
    assert fit_temperature(3 * np.log(probabilities), TARGETS) == pytest.approx(3 * right, rel=0.01)


def test_better_expert_weighs_more() -> None:
    model = fit_fusion(expert(3.0), expert(0.5), TARGETS)
    assert model.text_weights[0] > model.image_weights[0] >= 0


def test_fusion_is_better_than_either_expert() -> None:
    text, image = expert(2.0), expert(1.5)
    fused = fit_fusion(text, image, TARGETS).combine(text, image)
    assert log_loss(fused, TARGETS) < min(log_loss(text, TARGETS), log_loss(image, TARGETS))
