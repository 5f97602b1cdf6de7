from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.inference.releases.fusion_model import FusionModel, Space, shifted


def model(text: float, image: float) -> FusionModel:
    ones = np.ones(3, np.float32)
    return FusionModel(text * ones, image * ones, 0 * ones)


TEXT = np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]], np.float32)
IMAGE = np.array([[0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], np.float32)


def test_probabilities_sum_to_one() -> None:
    np.testing.assert_allclose(model(1.2, 0.4).combine(TEXT, IMAGE).sum(axis=1), 1, atol=1e-6)


def test_modality_without_weight_does_not_count() -> None:
    np.testing.assert_allclose(model(1, 0).combine(TEXT, IMAGE), TEXT, atol=1e-5)
    np.testing.assert_allclose(model(0, 1).combine(TEXT, IMAGE), IMAGE, atol=1e-5)


def test_equal_weights_multiply_the_probabilities() -> None:
    expected = TEXT[0] * IMAGE[0] / (TEXT[0] * IMAGE[0]).sum()
    np.testing.assert_allclose(model(1, 1).combine(TEXT, IMAGE)[0], expected, atol=1e-5)


def test_saved_model_is_read_back(tmp_path: Path) -> None:
    model(0.9, 0.3).save(tmp_path)
    found = FusionModel.load(tmp_path)
    np.testing.assert_array_equal(found.combine(TEXT, IMAGE), model(0.9, 0.3).combine(TEXT, IMAGE))


@pytest.mark.parametrize("space", ["log", "probability"])
def test_mix_that_both_models_are_adjusted_to_counts_once(space: Space, tmp_path: Path) -> None:
    ratios = np.array([0.5, 3, 1], np.float32)
    fitted = replace(model(0.9, 0.3), space=space)
    expected = shifted(fitted.combine(TEXT, IMAGE), ratios)
    replace(fitted, ratios=ratios).save(tmp_path)
    both = shifted(TEXT, ratios), shifted(IMAGE, ratios)
    np.testing.assert_allclose(FusionModel.load(tmp_path).combine(*both), expected, atol=1e-5)


def test_file_without_an_adjustment_is_that_of_older_workers(tmp_path: Path) -> None:
    model(0.9, 0.3).save(tmp_path)
    assert "ratios" not in (tmp_path / "fusion.json").read_text()


def test_shifted_probabilities_keep_their_ratios() -> None:
    found = shifted(TEXT, np.array([1.0, 2.0, 4.0]))
    np.testing.assert_allclose(found, [[0.7 / 1.5, 0.4 / 1.5, 0.4 / 1.5], [0, 1 / 3, 2 / 3]], 1e-6)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{}",
        "no json",
        '{"text_weights": [1], "image_weights": [], "bias": [1]}',
        '{"text_weights": [1], "image_weights": [1], "bias": [1], "ratios": [1, 2]}',
    ],
)
def test_broken_file_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "fusion.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"fusion\.json"):
        FusionModel.load(tmp_path)
