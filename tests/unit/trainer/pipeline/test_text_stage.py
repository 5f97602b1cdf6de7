"""The pool of the text models is judged by weights that were fitted on other rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.inference.releases.fusion_model import shifted
from trainer.candidates.calibration import log_loss, softmax
from trainer.candidates.fusion.pools import NoSettings
from trainer.candidates.protocols import FitContext, Labels, SelfContained, TextCandidate
from trainer.datasets.folder import Dataset
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.fitting import Model
from trainer.pipeline.selection import CASCADE
from trainer.pipeline.steps import Steps
from trainer.pipeline.text import stage as text_stage
from trainer.pipeline.text.pools import ALONE_AT, probabilities_of
from trainer.pipeline.text.stage import (
    COMBINED,
    COMBINED_BY_CATEGORY,
    TAUGHT,
    prepared_texts,
    run_text_stage,
)

pytestmark = pytest.mark.usefixtures("one_division")

CLASSES = 3
#: Latencies by name; those of the others are 5 ms for pools and 1 ms for one model.
LATENCIES = {"text_quick": 0.1}
PARTS = {"train": 30, "validation": 60, "test": 600}
Floats = NDArray[np.float32]


class Silent:
    """A log that nobody reads."""

    def log_line(self, line: str) -> None: ...

    def curve(self, name: str, step: int, value: float) -> None: ...


@dataclass(frozen=True)
class Expert(SelfContained):
    """A candidate that knows the category of each text by its number, and adds noise to it.

    Attributes:
        strength: How much it knows, of each category or of one.
        learnt: Labels of each fit.
        reason: Why it cannot be tried.
    """

    name: str
    strength: float | tuple[float, ...]
    seed: int
    is_teacher: bool = False  # type: ignore[misc]
    reason: str | None = None
    learnt: list[Labels] = field(default_factory=list, hash=False, compare=False)
    settings: NoSettings = field(default_factory=NoSettings)

    def unavailable_reason(self, context: FitContext) -> str | None:
        return self.reason

    def prepare(self, *_: object) -> None: ...

    def fit(self, texts: Sequence[str], labels: Labels, *_: object) -> None:
        self.learnt.append(labels)

    def predict(self, texts: Sequence[str], folder: Path) -> Floats:
        numbers = np.array([int(text.split()[-1]) for text in texts])
        noise = np.random.default_rng(self.seed).normal(0, 1, (1_000, CLASSES))[numbers]
        known = np.broadcast_to(self.strength, (CLASSES,)) * np.eye(CLASSES)[numbers % CLASSES]
        found: Floats = (noise + known).astype(np.float32)
        return found


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingContext:
    def speed(_context: object, name: str, *_: object) -> dict[str, Any]:
        return {"latency_ms": LATENCIES.get(name, 5.0 if name.startswith(COMBINED) else 1.0)}

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
    return fitted(context, experts)


def fitted(
    context: TrainingContext, experts: Sequence[Expert], students: Sequence[Expert] = ()
) -> dict[str, Model]:
    """Return the models by name, the chosen one first."""
    models, _ = run_text_stage(
        context,
        cast("Sequence[TextCandidate]", experts),
        cast("Sequence[TextCandidate]", students),
    )
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
    assert model.judged.shape == (1, PARTS["validation"], CLASSES)
    assert all(log_loss(repeat, targets) > tuned for repeat in model.judged)


def test_models_that_know_different_categories_are_weighted_by_category(
    context: TrainingContext,
) -> None:
    # Given two models, each of which knows a category that misleads the other
    experts = [Expert("text_0", (3.0, -1.0, 1.0), 0), Expert("text_1", (-1.0, 3.0, 1.0), 1)]
    models = fitted(context, experts)
    # Then weights by category are better than one weight for each model
    combined, by_category = (models[name].entry for name in (COMBINED, COMBINED_BY_CATEGORY))
    assert combined.validation is not None
    assert by_category.validation is not None
    assert by_category.validation.log_loss < combined.validation.log_loss
    first, second = models[COMBINED_BY_CATEGORY].parts
    assert np.shape(first.weight) == np.shape(second.weight) == (CLASSES,)


# Cascades

QUICK, SLOW = Expert("text_quick", 2.0, 0), Expert("text_1", 2.0, 1)


def test_cascade_serves_in_place_of_its_pool(context: TrainingContext) -> None:
    models = fitted(context, [QUICK, SLOW])
    name, cascade = next(iter(models.items()))
    pool = models[name.removesuffix(CASCADE)]
    assert name.endswith(CASCADE)
    # The pool is asked where the quick model is unsure.
    alone = models["text_quick"].test.to_numpy()
    is_alone = alone.max(axis=1) >= ALONE_AT
    assert 0.2 < is_alone.mean() < 0.9
    expected = np.where(is_alone[:, None], alone, pool.test.to_numpy())
    np.testing.assert_array_equal(cascade.test.to_numpy(), expected)
    assert [part.alone_at for part in cascade.parts] == [ALONE_AT, 0.0]
    assert {part.alone_at for part in pool.parts} == {0.0}
    # The judged scores come from temperatures and weights that were fitted without the row.
    sure = models["text_quick"].judged.max(axis=2, keepdims=True) >= ALONE_AT
    judged = np.where(sure, models["text_quick"].judged, pool.judged)
    np.testing.assert_array_equal(cascade.judged, judged)


def test_fitted_cascade_answers_as_it_was_judged(context: TrainingContext) -> None:
    models = fitted(context, [QUICK, SLOW])
    cascade = next(iter(models.values()))
    rows = context.data.rows.loc[cascade.test.index]
    found = probabilities_of(cascade.parts, prepared_texts(rows))
    np.testing.assert_allclose(found, cascade.test, atol=1e-5)
    ratios = (0.5, 1.0, 4.0)
    adjusted = (replace(cascade.parts[0], ratios=ratios), *cascade.parts[1:])
    expected = shifted(cascade.test.to_numpy(), np.array(ratios))
    np.testing.assert_allclose(
        probabilities_of(adjusted, prepared_texts(rows)), expected, atol=1e-5
    )


def test_pool_without_a_cheap_model_has_no_cascade(context: TrainingContext) -> None:
    models = fitted(context, [Expert("text_0", 3.0, 0), SLOW])
    assert not [name for name in models if name.endswith(CASCADE)]


# Students


def test_students_learn_from_the_teacher(context: TrainingContext) -> None:
    # Given a teacher, and a model that is worse
    teacher = Expert("text_0", 3.0, 0, is_teacher=True)
    student = Expert("text_taught", 1.0, 2)
    models = fitted(context, [teacher, Expert("text_1", 0.0, 1)], [student])
    # Then the student gets the teacher's probabilities of the rows to fit on
    (labels,) = student.learnt
    assert labels.soft is not None
    assert labels.soft.shape == (PARTS["train"], CLASSES)
    assert (labels.soft.argmax(axis=1) == labels.targets).mean() > 0.8
    assert teacher.learnt[0].soft is None
    # And a pool of the students and the others is compared too
    assert f"{COMBINED}{TAUGHT}" in models


def test_pools_without_weight_for_a_student_are_not_compared_again(
    context: TrainingContext,
) -> None:
    teacher = Expert("text_0", 3.0, 0, is_teacher=True)
    # Given a student that answers as the others do, only worse
    models = fitted(context, [teacher, Expert("text_1", 2.0, 1)], [Expert("text_taught", -4.0, 2)])
    assert COMBINED in models
    assert not [name for name in models if TAUGHT in name and name.startswith(COMBINED)]


def test_without_a_teacher_there_are_no_students(context: TrainingContext) -> None:
    student = Expert("text_taught", 1.0, 2)
    models = fitted(context, [Expert("text_0", 3.0, 0), Expert("text_1", 0.0, 1)], [student])
    assert not student.learnt
    assert f"{COMBINED}{TAUGHT}" not in models


def test_candidate_that_cannot_be_tried_is_listed_with_its_reason(
    context: TrainingContext,
) -> None:
    missing = Expert("text_1", 9.0, 1, reason="Expected a folder. Received: none")
    models, untried = run_text_stage(
        context, cast("Sequence[TextCandidate]", [Expert("text_0", 1.0, 0), missing])
    )
    assert [model.entry.name for model in models] == ["text_0"]
    assert [(entry.name, entry.note) for entry in untried] == [("text_1", missing.reason)]


def test_soft_labels_are_mixed_with_the_labels() -> None:
    soft = softmax(np.random.default_rng(0).normal(0, 1, (2, CLASSES)).astype(np.float32))
    labels = Labels(np.array([2, 0]), np.ones(2, np.float32), CLASSES, soft)
    mixed = labels.distributions(np.array([1, 0]), 0.25)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(mixed[0], 0.75 * np.eye(CLASSES)[0] + 0.25 * soft[1], rtol=1e-6)
    assert labels.digest != Labels(labels.targets, labels.weights, CLASSES).digest
    np.testing.assert_array_equal(labels.take(np.array([1])).soft, soft[1:])
