"""The models that serve are fitted once more, on the rows that chose them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from shared.categories import CategorySet
from tests.unit.trainer.pipeline.kept_log import KeptLog
from trainer.candidates.fusion.pools import NoSettings
from trainer.candidates.protocols import FinalRows, Labels, SelfContained, TextCandidate
from trainer.datasets.folder import Dataset
from trainer.pipeline.chosen.final_fit import LEAST_ROWS, FinalFit, final_fit
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.held_out import Chosen
from trainer.pipeline.steps import Steps
from trainer.pipeline.text import stage as text_stage
from trainer.pipeline.text.pools import probabilities_of
from trainer.pipeline.text.stage import prepared_texts, run_text_stage

CLASSES = 3
PARTS = {"train": 60, "validation": 45, "weak_held": 15, "test": LEAST_ROWS}
LEARNT = "learnt.json"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Memory(SelfContained):
    """A candidate that remembers its texts, and is surer of those, and surer the more there are."""

    name: str = "text_memory"
    settings: NoSettings = field(default_factory=NoSettings)
    refits: ClassVar[bool] = True

    def prepare(self, *_: object) -> None: ...

    def fit(self, texts: Sequence[str], labels: Labels, folder: Path, *_: object) -> None:
        weights = dict(zip(texts, labels.weights.tolist(), strict=True))
        (folder / LEARNT).write_text(json.dumps(weights), "utf-8")

    def predict(self, texts: Sequence[str], folder: Path) -> Floats:
        known = learnt(folder)
        numbers = np.array([int(text.split()[-1]) for text in texts])
        sure = np.array([len(known) * (1 + (text in known)) / 50 for text in texts])
        noise = np.random.default_rng(0).normal(0, 1, (1_000, CLASSES))[numbers]
        found: Floats = (noise + sure[:, None] * np.eye(CLASSES)[numbers % CLASSES]).astype(
            np.float32
        )
        return found


class Slow(Memory):
    """The same, with a fit that takes hours."""

    refits: ClassVar[bool] = False


def learnt(folder: Path) -> dict[str, float]:
    """Return the texts of a fit with their weights."""
    found: dict[str, float] = json.loads((folder / LEARNT).read_text("utf-8"))
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure no speed."""

    def speed(*_: object) -> dict[str, Any]:
        return {"latency_ms": 1.0}

    monkeypatch.setattr(text_stage, "_text_speed", speed)


def context_of(folder: Path, which: FinalRows = "validation", **sizes: int) -> TrainingContext:
    parts = {**PARTS, **sizes}
    numbers = np.arange(sum(parts.values()))
    rows = pd.DataFrame(
        {
            "designation": [f"product {number}" for number in numbers],
            "description": "",
            "code": numbers % CLASSES + 10,
            "part": np.repeat([*parts], [*parts.values()]),
            "image": "",
            "has_text": True,
        }
    )
    categories = CategorySet.of((code, f"C{code}") for code in range(10, 10 + CLASSES))
    return TrainingContext(
        TrainingSettings(work=folder, final_fit=which),
        Dataset(rows, categories, {}, stored_fingerprint="rows"),
        Steps(folder, total=10),
        KeptLog(),
    )


def both_fits(context: TrainingContext, *candidates: Memory) -> tuple[Chosen, FinalFit | None]:
    """Return the models as they were chosen, and after the final fit."""
    models, _ = run_text_stage(context, cast("Sequence[TextCandidate]", candidates or (Memory(),)))
    chosen = Chosen(models, [], None, [])
    return chosen, final_fit(context, context, chosen)


def texts(context: TrainingContext, *parts: str) -> list[str]:
    return prepared_texts(context.data.part(*parts))


def test_final_fit_learns_from_the_rows_that_chose_and_not_from_test_rows(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    chosen, final = both_fits(context)
    assert final is not None
    (before,), (after,) = chosen.text[0].parts, final.chosen.text[0].parts
    assert [*learnt(before.folder)] == texts(context, "train")
    assert [*learnt(after.folder)] == texts(context, "train", "validation", "weak_held")
    # Weakly labelled rows weigh less, as in any fit.
    weak = texts(context, "weak_held")
    assert {learnt(after.folder)[text] for text in weak} == {np.float32(0.7).item()}
    assert final.figures() == {"final_fit_rows": 60, "final_fit_test_rows": 0}
    assert final.sentence() == "fitted again with 60 validation products: text_memory"


def test_what_was_tuned_and_measured_on_held_out_rows_stays(tmp_path: Path) -> None:
    chosen, final = both_fits(context_of(tmp_path))
    assert final is not None
    before, after = chosen.text[0], final.chosen.text[0]
    assert after.parts[0].numbers == before.parts[0].numbers
    assert after.entry == before.entry
    assert after.judged is before.judged


def test_final_models_are_checked_by_rows_that_they_have_not_learnt_from(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    chosen, final = both_fits(context)
    assert final is not None
    model = final.chosen.text[0]
    assert [*model.held.index] == [*context.data.part("test").index]
    scores = probabilities_of(model.parts, texts(context, "test"))
    np.testing.assert_array_equal(model.held.to_numpy(np.float32), scores)
    # They answer otherwise than before: the fit was another one.
    assert np.abs(scores - chosen.text[0].test.to_numpy()).max() > 0.01


def test_candidates_whose_fit_is_not_repeated_keep_it_beside_others(tmp_path: Path) -> None:
    context = context_of(tmp_path, validation=600)
    chosen, final = both_fits(context, Memory(), Slow("text_slow"))
    pool = next(one for one in chosen.text if len(one.parts) == 2)
    chosen = replace(chosen, text=[pool])
    final = final_fit(context, context, chosen)
    assert final is not None
    assert final.names == ("text_memory",)
    folders = {
        part.candidate.name: (part.folder, again.folder)
        for part, again in zip(pool.parts, final.chosen.text[0].parts, strict=True)
    }
    assert folders["text_slow"][0] == folders["text_slow"][1]
    assert folders["text_memory"][0] != folders["text_memory"][1]


def test_fit_on_test_rows_is_stated(tmp_path: Path) -> None:
    context = context_of(tmp_path, "test")
    _, final = both_fits(context)
    assert final is not None
    (part,) = final.chosen.text[0].parts
    assert {*texts(context, "test")} <= {*learnt(part.folder)}
    assert final.test_rows == LEAST_ROWS
    assert "60 validation and 100 test products" in final.sentence()


@pytest.mark.parametrize(
    ("which", "candidate", "tested"),
    [
        ("none", Memory(), LEAST_ROWS),
        ("validation", Slow(), LEAST_ROWS),
        ("validation", Memory(), LEAST_ROWS - 1),
    ],
)
def test_models_ship_as_they_were_chosen(
    which: FinalRows, candidate: Memory, tested: int, tmp_path: Path
) -> None:
    context = context_of(tmp_path, which, test=tested)
    _, final = both_fits(context, candidate)
    assert final is None
    lines = [line for line in cast(KeptLog, context.log).lines if "no final fit" in line]
    expected = "no final fit: expected 100 test rows of each kind to check it by; there are 99"
    assert lines == ([expected] if tested < LEAST_ROWS else [])
