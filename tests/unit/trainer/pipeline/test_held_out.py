"""Held-out rows of the chosen models."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd

from shared.inference.releases.fusion_model import FusionModel
from shared.inference.releases.novelty import LEAST_ROWS, Novelty
from trainer.pipeline.context import TrainingContext
from trainer.pipeline.fitting import ENOUGH_TO_CALIBRATE, ENOUGH_TO_DECIDE
from trainer.pipeline.held_out import Chosen, confidence_of, novelty_of

CLASSES = 4


def model(index: range, confidence: float) -> Any:
    """Return a model that is as sure of each held-out row, with a little noise."""
    noise = np.random.default_rng(len(index)).uniform(0, 0.01, (len(index), 1))
    rest = (1 - confidence + noise) / CLASSES
    found = np.tile(rest, (1, CLASSES))
    found[:, 0] += confidence - noise[:, 0]
    return SimpleNamespace(held=pd.DataFrame(found.astype(np.float32), index=index))


def scales(official: int, weak: int, text: Any, image: Any = None) -> Novelty:
    parts = ["validation"] * official + ["weak_held"] * weak
    context = SimpleNamespace(data=SimpleNamespace(rows=pd.DataFrame({"part": parts})))
    even = np.ones(CLASSES, np.float32)
    fusion = SimpleNamespace(model=FusionModel(even, even, even * 0)) if image else None
    chosen = Chosen([text], [image] if image else [], cast(Any, fusion), [])
    return novelty_of(cast(TrainingContext, context), chosen)


def test_each_kind_of_answer_has_a_scale() -> None:
    text, image = model(range(ENOUGH_TO_DECIDE), 0.9), model(range(100), 0.5)
    found = scales(ENOUGH_TO_DECIDE, 0, text, image).scales
    assert set(found) == {"text", "image", "fusion"}
    # Two models that agree rule more out than either alone.
    assert found["fusion"][50] < found["text"][50] < found["image"][50]


def test_weakly_labelled_rows_count_only_where_others_are_few() -> None:
    sure, torn = model(range(ENOUGH_TO_DECIDE), 0.9).held, model(range(500), 0.3).held
    torn.index = range(ENOUGH_TO_DECIDE, ENOUGH_TO_DECIDE + 500)
    both = SimpleNamespace(held=pd.concat([sure, torn]))
    without = scales(ENOUGH_TO_DECIDE, 500, both).scales["text"]
    assert without[-1] < scales(ENOUGH_TO_DECIDE - 1, 501, both).scales["text"][-1]


def test_few_rows_make_no_scale() -> None:
    assert scales(LEAST_ROWS - 1, 0, model(range(LEAST_ROWS - 1), 0.9)).scales == {}


ROWS = 400


def overconfident(official: int, weak: int, ratios: tuple[float, ...] = ()) -> dict[str, Any]:
    """Return what a release states that is sure of each row, and right in three of four.

    Weakly labelled rows are always right.
    """
    targets = np.arange(official + weak) % 4 // 3
    targets[official:] = 0
    parts = ["validation"] * official + ["weak_held"] * weak
    rows = pd.DataFrame({"part": parts, "target": targets})
    data = SimpleNamespace(rows=rows, targets=lambda some: some["target"].to_numpy(np.int64))
    scores = model(range(len(rows)), 0.97).held
    text = SimpleNamespace(held=scores, out_of_fold=scores, parts=[SimpleNamespace(ratios=ratios)])
    chosen = Chosen([cast(Any, text)], [], None, [])
    return confidence_of(cast(TrainingContext, SimpleNamespace(data=data)), chosen)


def test_release_states_how_often_its_confident_answers_are_right() -> None:
    found = overconfident(ROWS, 0)["text"]
    assert found.rows == round(0.95 * ROWS), "products that seem foreign are left out"
    assert 0.7 < found.calibration.probability(0.97) < 0.8


def test_weakly_labelled_rows_state_nothing_where_there_are_others() -> None:
    found = overconfident(ENOUGH_TO_CALIBRATE, ROWS)["text"]
    assert found.rows <= ENOUGH_TO_CALIBRATE
    assert found.calibration.probability(0.97) < 0.9
    assert overconfident(ENOUGH_TO_CALIBRATE - 1, ROWS)["text"].rows > ENOUGH_TO_CALIBRATE


def test_statement_is_about_the_answers_after_an_adjustment() -> None:
    # The adjustment turns each answer into the second category, which one of four rows has.
    found = overconfident(ROWS, 0, (1e-4, 1.0, 1e-4, 1e-4))["text"]
    assert found.calibration.probability(0.97) < 0.4
