"""Held-out rows of the chosen models."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd

from shared.inference.releases.fusion_model import FusionModel
from shared.inference.releases.novelty import LEAST_ROWS, Novelty
from trainer.pipeline.context import TrainingContext
from trainer.pipeline.fitting import ENOUGH_TO_DECIDE
from trainer.pipeline.held_out import Chosen, novelty_of

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
