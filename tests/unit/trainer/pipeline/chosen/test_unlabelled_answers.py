"""Recent products that nobody labelled are learnt from if the mix of categories has changed."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from shared.categories import CategorySet
from tests.unit.trainer.pipeline.kept_log import KeptLog
from trainer.candidates.protocols import TextCandidate
from trainer.datasets.folder import Dataset
from trainer.pipeline.chosen.unlabelled_answers import (
    LEAST_ROWS,
    candidates_again,
    read_answers,
    with_answers,
)
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.fitting import Model, Part
from trainer.pipeline.steps import Steps
from trainer.release.current_mix import current_mix

CLASSES = 3


@dataclass(frozen=True)
class Reader:
    """A candidate that reads the logits of the categories from the text."""

    name: str = "reader"
    is_teacher: bool = False

    def predict(self, texts: list[str], folder: Path) -> Any:
        return np.array([[float(one) for one in text.split()[-CLASSES:]] for text in texts])


def context_of(folder: Path, mix: tuple[float, ...], answers: list[dict[str, Any]]) -> Any:
    """Return a context with 900 rows of an even mix, and 300 labels of another one."""
    drawn = np.random.default_rng(0).choice(CLASSES, 300, p=mix)
    codes = np.concatenate([np.arange(900) % CLASSES, drawn]) + 10
    rows = pd.DataFrame({"code": codes, "part": "train", "image": "", "has_text": True})
    rows = rows.assign(
        designation=[f"product {number}" for number in range(len(rows))],
        description="",
        represents=np.repeat([0.0, 5.0], [900, 300]),
        answered_at=np.repeat([0.0, 100.0], [900, 300]),
        labelled_by=np.repeat(["", "olga"], [900, 300]),
    )
    categories = CategorySet.of((code, f"C{code}") for code in range(10, 10 + CLASSES))
    path = folder / "answers.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in answers), "utf-8")
    return TrainingContext(
        TrainingSettings(work=folder, answers=path),
        Dataset(rows, categories, {}, stored_fingerprint="rows"),
        Steps(folder, total=0),
        KeptLog(),
    )


def model() -> Model:
    part = Part(Reader(), Path())
    return Model(
        (part,), pd.DataFrame(), np.zeros(0, np.float32), pd.DataFrame(), cast(Any, None), ()
    )


def answer(number: int, logits: str = "9 0 0", at: float = 200.0) -> dict[str, Any]:
    return {"designation": f"new {number}", "description": logits, "answered_at": at}


NEW = (0.1, 0.1, 0.8)


def test_products_are_learnt_from_with_the_sure_answers_of_the_adjusted_model(
    tmp_path: Path,
) -> None:
    sure = [answer(number) for number in range(LEAST_ROWS)]
    # The last category comes so often that its products are recognised only by the adjustment.
    likely = [answer(1_000 + number, "1.2 0 0.7") for number in range(50)]
    unsure = [answer(2_000 + number, "1 1 1e-9") for number in range(50)]
    context = context_of(tmp_path, NEW, [*sure, *likely, *unsure])
    more, sentence = with_answers(context, model())
    added = more.data.part("weak")
    assert len(added) == LEAST_ROWS + 50
    assert sentence.startswith(f"{LEAST_ROWS + 50} recent products that nobody labelled")
    assert added["code"].value_counts().to_dict() == {10: LEAST_ROWS, 12: 50}
    assert not added["designation"].isin([one["designation"] for one in unsure]).any()
    # They weigh less than labelled rows, and only the rows to learn from change.
    labels = more.labels(more.data.part("train", "weak"))
    assert set(labels.weights[-len(added) :]) == {np.float32(0.7)}
    learnt, before = (one.data.part("train") for one in (more, context))
    pd.testing.assert_frame_equal(learnt, before, check_index_type=False)
    assert more.fingerprint != context.fingerprint
    assert more.data.rows.index.is_unique


def test_labels_tell_the_same_mix_with_the_products(tmp_path: Path) -> None:
    context = context_of(tmp_path, NEW, [answer(number) for number in range(LEAST_ROWS)])
    more, _ = with_answers(context, model())
    trained = np.full(CLASSES, 1 / CLASSES)
    before, after = (current_mix(one.data, trained) for one in (context, more))
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before.now, after.now)


@pytest.mark.parametrize(
    ("mix", "answers"),
    [
        ((1 / 3, 1 / 3, 1 / 3), [answer(number) for number in range(LEAST_ROWS)]),
        (NEW, [answer(number) for number in range(LEAST_ROWS - 1)]),
        (NEW, [answer(number, at=50.0) for number in range(LEAST_ROWS)]),
        (NEW, [answer(1) for _ in range(LEAST_ROWS)]),
        (NEW, [{**answer(0), "designation": f"Product {one}!"} for one in range(LEAST_ROWS)]),
        (NEW, []),
    ],
    ids=["same mix", "few", "before the change", "equal", "in the dataset", "none"],
)
def test_other_products_are_not_learnt_from(
    mix: tuple[float, ...], answers: list[dict[str, Any]], tmp_path: Path
) -> None:
    context = context_of(tmp_path, mix, answers)
    assert with_answers(context, model()) == (context, "")


def test_training_without_answers_stays_as_it_was(tmp_path: Path) -> None:
    context = context_of(tmp_path, NEW, [])
    without = replace(context, settings=replace(context.settings, answers=None))
    assert with_answers(without, model()) == (without, "")


def test_titles_of_digits_stay_texts(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    line = {"designation": "0123", "description": "é", "answered_at": 5.0}
    path.write_text(json.dumps(line), "utf-8")
    assert read_answers(path, 5.0)["designation"].tolist() == ["0123"]
    assert read_answers(path, 6.0).empty


def test_only_candidates_of_the_model_are_fitted_again() -> None:
    candidates = [Reader("one"), Reader("two"), Reader("encoder", is_teacher=True)]
    students = [Reader("pupil")]
    parts = tuple(Part(one, Path()) for one in (candidates[0], students[0]))
    taught = replace(model(), parts=parts)
    pools = cast("list[TextCandidate]", candidates), cast("list[TextCandidate]", students)
    again, pupils = candidates_again(taught, *pools)
    assert [one.name for one in again] == ["one", "encoder"]
    assert [one.name for one in pupils] == ["pupil"]
    alone, none = candidates_again(replace(taught, parts=parts[:1]), *pools)
    assert [one.name for one in alone] == ["one"]
    assert not none
