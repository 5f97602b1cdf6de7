"""The pool of the text models is judged by weights that were fitted on other rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from shared.categories import CategorySet
from trainer.candidates.calibration import log_loss
from trainer.candidates.fusion.pools import NoSettings
from trainer.candidates.protocols import TextCandidate
from trainer.datasets.folder import Dataset
from trainer.pipeline import text_stage
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.fitting import Model
from trainer.pipeline.steps import Steps
from trainer.pipeline.text_stage import COMBINED, run_text_stage

CLASSES = 3
PARTS = {"train": 30, "validation": 60, "test": 600}
Floats = NDArray[np.float32]


class Silent:
    """A log that nobody reads."""

    def log_line(self, line: str) -> None: ...

    def curve(self, name: str, step: int, value: float) -> None: ...


@dataclass(frozen=True)
class Expert:
    """A candidate that knows the category of each text by its number, and adds noise to it."""

    name: str
    strength: float
    seed: int
    settings: NoSettings = field(default_factory=NoSettings)

    def prepare(self, *_: object) -> None: ...

    def fit(self, *_: object) -> None: ...

    def predict(self, texts: Sequence[str], folder: Path) -> Floats:
        numbers = np.array([int(text.split()[-1]) for text in texts])
        noise = np.random.default_rng(self.seed).normal(0, 1, (1_000, CLASSES))[numbers]
        found: Floats = (noise + self.strength * np.eye(CLASSES)[numbers % CLASSES]).astype(
            np.float32
        )
        return found


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingContext:
    def speed(_context: object, name: str, *_: object) -> dict[str, Any]:
        return {"latency_ms": 5.0 if name == COMBINED else 1.0}

    monkeypatch.setattr(text_stage, "_text_speed", speed)
    numbers = np.arange(sum(PARTS.values()))
    rows = pd.DataFrame(
        {
            "designation": [f"product {number}" for number in numbers],
            "description": "",
            "code": numbers % CLASSES + 10,
            "part": np.repeat([*PARTS], [*PARTS.values()]),
            "image": "",
            "has_text": True,
        }
    )
    categories = CategorySet.of((code, f"C{code}") for code in range(10, 10 + CLASSES))
    return TrainingContext(
        TrainingSettings(work=tmp_path),
        Dataset(rows, categories, {}, stored_fingerprint="rows"),
        Steps(tmp_path, total=10),
        Silent(),
    )


def run(context: TrainingContext, *strengths: float) -> dict[str, Model]:
    """Return the models by name, the chosen one first."""
    experts = [Expert(f"text_{seed}", strength, seed) for seed, strength in enumerate(strengths)]
    models = run_text_stage(context, cast("Sequence[TextCandidate]", experts))
    return {model.entry.name: model for model in models}


def test_figure_that_chooses_is_not_the_figure_that_was_tuned(context: TrainingContext) -> None:
    # Given models that know nothing, whose weights fit the noise of the few rows that decide
    combined = run(context, *[0.0] * 12)[COMBINED]
    figures = combined.entry.validation
    assert figures is not None
    targets = context.data.targets(context.data.rows.loc[combined.held.index])
    tuned = log_loss(combined.held.to_numpy(np.float32), targets)
    # Then the tuned figure promises a gain over guessing, and the figure that chooses does not
    assert tuned < np.log(CLASSES) - 0.005
    assert figures.log_loss > np.log(CLASSES)


def test_pool_that_gains_nothing_beyond_chance_does_not_serve(context: TrainingContext) -> None:
    models = run(context, 2.0, 0.0)
    assert next(iter(models)) == "text_0"
    against = models["text_1"].entry.against_chosen
    assert against is not None
    assert against.is_worse
    pooled = models[COMBINED].entry.against_chosen
    assert pooled is not None
    assert not pooled.f1.is_above_zero
    assert not pooled.log_loss.is_below_zero
    assert models["text_0"].entry.against_chosen is None


def test_pool_that_gains_beyond_chance_serves(context: TrainingContext) -> None:
    models = run(context, 1.5, 1.5, 1.5)
    assert next(iter(models)) == COMBINED
    entry = models[COMBINED].entry
    assert entry.validation_f1 is not None
    assert entry.test_f1 is not None
    assert entry.test_f1.low < entry.test_f1.value < entry.test_f1.high


def test_temperature_of_a_candidate_is_judged_on_other_rows(context: TrainingContext) -> None:
    model = run(context, 1.0)["text_0"]
    targets = context.data.targets(context.data.rows.loc[model.held.index])
    tuned = log_loss(model.held.to_numpy(np.float32), targets)
    assert model.judged.shape == (3, PARTS["validation"], CLASSES)
    assert all(log_loss(repeat, targets) > tuned for repeat in model.judged)
