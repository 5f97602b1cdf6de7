from pathlib import Path

import numpy as np
import pytest

from shared.errors import InvalidInput
from shared.inference.releases.fusion_model import FusionModel


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


@pytest.mark.parametrize(
    "content", [None, "{}", "no json", '{"text_weights": [1], "image_weights": [], "bias": [1]}']
)
def test_broken_file_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "fusion.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"fusion\.json"):
        FusionModel.load(tmp_path)
