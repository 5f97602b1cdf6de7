"""The fusion of a release must beat the text model alone, on rows that it was not fitted on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.inference.releases.fusion_model import FusionModel
from trainer.candidates.calibration import softmax
from trainer.candidates.fusion.pools import (
    Evidence,
    FusionCandidate,
    LogLinear,
    NoSettings,
    WeightedMean,
)
from trainer.datasets.folder import Dataset
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.fitting import Model, Part
from trainer.pipeline.fusion_stage import Fused, run_fusion_stage
from trainer.pipeline.leaderboard import Entry, as_json
from trainer.pipeline.row_images import RowImages
from trainer.pipeline.steps import Steps

HELD, TEST, CLASSES = 500, 200, 4
Floats = NDArray[np.float32]


class Silent:
    """A log that nobody reads."""

    def log_line(self, line: str) -> None: ...

    def curve(self, name: str, step: int, value: float) -> None: ...


@dataclass(frozen=True)
class Network:
    """An image candidate, as far as the stage reads it."""

    network: str = "small"
    size: int = 8


@dataclass(frozen=True)
class Doubting:
    """Doubts the text, which lowers its log loss, and prefers a category a little."""

    name: str = "fusion_doubting"
    settings: NoSettings = field(default_factory=NoSettings)
    note: str = ""

    def fit(self, evidence: Evidence, seed: int) -> FusionModel:
        bias = np.array([0.5, 0, 0, 0], np.float32)
        return FusionModel(np.full(4, 1 / 3, np.float32), np.zeros(4, np.float32), bias)


@pytest.fixture(autouse=True)
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def features(self: RowImages, *_: object) -> NDArray[np.float16]:
        return np.zeros((len(self.rows), 2), np.float16)

    monkeypatch.setattr(RowImages, "features", features)


@pytest.fixture
def context(tmp_path: Path) -> TrainingContext:
    codes = np.random.default_rng(0).integers(0, CLASSES, HELD + TEST) + 10
    parts = ["validation"] * HELD + ["test"] * TEST
    rows = pd.DataFrame({"code": codes, "part": parts, "image": "image.jpg"})
    categories = CategorySet.of((code, f"C{code}") for code in range(10, 10 + CLASSES))
    return TrainingContext(
        TrainingSettings(work=tmp_path),
        Dataset(rows, categories, {}, stored_fingerprint="rows"),
        Steps(tmp_path, total=10),
        Silent(),
    )


def model(context: TrainingContext, strength: float, seed: int, sharpness: float = 1.0) -> Model:
    """Return a model of one modality whose answers are right according to its strength."""
    targets = context.data.targets(context.data.rows)
    noise = np.random.default_rng(seed).normal(0, 1, (len(targets), CLASSES))
    found = softmax(sharpness * (noise + strength * np.eye(CLASSES)[targets])).astype(np.float32)
    held, test = (
        pd.DataFrame(found, context.data.rows.index)[context.data.rows["part"] == part]
        for part in ("validation", "test")
    )
    part = Part(Network(), context.settings.work, 1.0)
    return Model((part,), held, held.to_numpy()[None], test, Entry("one", "text"), ())


def fused(
    context: TrainingContext, text: Model, image: Model, candidates: Sequence[FusionCandidate]
) -> tuple[Fused, dict[str, Entry]]:
    chosen, entries = run_fusion_stage(context, candidates, [text], [image])
    assert chosen is not None
    assert json.loads(json.dumps(as_json(entries)))
    return chosen, {entry.name: entry for entry in entries}


def test_fusion_serves_if_the_image_helps(context: TrainingContext) -> None:
    text, image = model(context, 2.0, 1), model(context, 1.5, 2)
    chosen, board = fused(context, text, image, [WeightedMean(), LogLinear()])
    assert chosen.name in ("fusion_mean", "fusion_log_linear")
    assert (chosen.model.image_weights > 0).all()
    # And the board states the gain over the text alone, on both kinds of rows
    entry = board[chosen.name]
    assert entry.against_text is not None
    assert entry.test_against_text is not None
    assert entry.against_text.f1.is_above_zero
    assert entry.against_text.log_loss.is_below_zero
    assert entry.test_against_text.log_loss.is_below_zero
    alone = board["fusion_text_alone"]
    assert alone.against_text is None
    assert alone.against_chosen is not None
    assert alone.against_chosen.is_worse


def test_text_alone_serves_if_the_image_is_noise(context: TrainingContext) -> None:
    text, noise = model(context, 2.0, 1, sharpness=2.0), model(context, 0.0, 2)
    chosen, _ = fused(context, text, noise, [WeightedMean(), LogLinear()])
    assert chosen.name == "fusion_text_alone"
    assert (chosen.model.image_weights == 0).all()
    answered = chosen.model.combine(text.test.to_numpy(), noise.test.to_numpy())
    np.testing.assert_allclose(answered, text.test.to_numpy(), atol=1e-6)


def test_fusion_with_a_lower_f1_than_text_alone_is_refused(context: TrainingContext) -> None:
    # Given a text model that is far too sure, and a fusion that is right less often but doubts
    text, noise = model(context, 2.0, 1, sharpness=6.0), model(context, 0.0, 2)
    chosen, board = fused(context, text, noise, [Doubting()])
    entry = board["fusion_doubting"]
    assert entry.against_text is not None
    assert entry.against_text.log_loss.is_below_zero
    assert not entry.against_text.f1.is_below_zero
    assert entry.against_text.f1.value < 0
    # Then it does not serve, although its log loss is lower beyond chance
    assert entry.note.startswith("refused: F1 below that of text alone, -0.0")
    assert chosen.name == "fusion_text_alone"


def test_weights_come_from_scores_that_were_not_tuned_on_the_row(context: TrainingContext) -> None:
    # Given a text model whose pool was tuned on the held-out rows until it knew them by heart
    honest, image = model(context, 1.0, 1), model(context, 2.0, 2)
    targets = context.data.targets(context.data.rows.loc[honest.held.index])
    tuned = pd.DataFrame(0.97 * np.eye(CLASSES)[targets] + 0.0075, honest.held.index)
    text = Model(
        honest.parts, tuned.astype(np.float32), honest.judged, honest.test, honest.entry, ()
    )
    # Then the fusion weighs it by what it knows of other rows
    chosen, _ = fused(context, text, image, [LogLinear()])
    assert chosen.model.image_weights[0] > 0.8 * chosen.model.text_weights[0]
