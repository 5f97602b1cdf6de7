from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shared.contracts import Modality
from tests.support.factories import make_manifest
from tests.support.tiny_release import write_tiny_release
from trainer.datasets.folder import Dataset
from trainer.release.evaluation import (
    calibration_error,
    evaluate_release,
    figures_of,
    official_weights,
)


def test_perfect_answers_have_no_error() -> None:
    figures = figures_of(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    assert figures.f1_plain == 1
    assert figures.calibration_error == 0
    assert figures.log_loss == 0


def test_overconfidence_is_the_calibration_error() -> None:
    # Confidence .9, accuracy .5.
    probabilities = np.tile(np.array([[0.9, 0.1]], np.float32), (10, 1))
    assert calibration_error(probabilities, np.array([0, 1] * 5)) == pytest.approx(0.4, abs=1e-6)


def test_official_weights_restore_the_official_shares() -> None:
    codes = np.array([10, 10, 10, 20])
    weights = official_weights(codes, {10: 0.25, 20: 0.75, 30: 0.0})
    assert weights is not None
    np.testing.assert_allclose(weights, [1 / 3, 1 / 3, 1 / 3, 3], rtol=1e-6)


def test_unknown_shares_give_no_official_figure() -> None:
    assert official_weights(np.array([10, 99]), {10: 1.0}) is None
    named = figures_of(np.eye(2, dtype=np.float32), np.array([0, 1])).named("text")
    assert "text_f1_official" not in named
    assert named["text_rows"] == 2


@pytest.mark.parametrize(
    ("modalities", "found"),
    [
        ((Modality.TEXT,), {"text"}),
        ((Modality.IMAGE,), {"image"}),
        (tuple(Modality), {"text", "image", "fusion", "text_both", "image_both"}),
    ],
)
def test_only_the_modalities_of_a_release_are_measured(
    tmp_path: Path, modalities: tuple[Modality, ...], found: set[str]
) -> None:
    for shade in (0, 250):
        Image.new("RGB", (20, 20), (shade,) * 3).save(tmp_path / f"{shade}.png")
    rows = pd.DataFrame(
        {
            "designation": ["piscine", "piscine ronde avec pompe et filtre"],
            "description": "",
            "image": [str(tmp_path / "0.png"), str(tmp_path / "250.png")],
            "code": [10, 2583],
            "part": "test",
            "has_text": True,
        }
    )
    data = Dataset(rows, make_manifest().category_set, {})
    figures = evaluate_release(write_tiny_release(tmp_path / "1", modalities=modalities), data)
    assert set(figures) == found
    assert {one.f1_plain for one in figures.values()} == {1.0}
