"""Adjustment of a release to the mix of categories that is answered today."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from shared.categories import CategorySet
from shared.inference.releases.fusion_model import FusionModel, shifted
from tests.unit.trainer.pipeline.kept_log import KeptLog
from trainer.datasets.folder import Dataset
from trainer.pipeline.chosen import answered_mix as module
from trainer.pipeline.chosen.answered_mix import adjusted, answered_mix
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.fitting import Model, Part
from trainer.pipeline.fusion_stage import Fused
from trainer.pipeline.held_out import Chosen
from trainer.pipeline.steps import Steps
from trainer.release.current_mix import LEAST_LABELS, NEWEST

CLASSES = 3
#: Mix of the rows of the files, and another one.
OLD, NEW = (0.6, 0.3, 0.1), (0.1, 0.3, 0.6)


def codes(rows: int, mix: tuple[float, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).choice(CLASSES, rows, p=mix) + 10


def of_files(rows: int = 2_000) -> pd.DataFrame:
    parts = np.where(np.arange(rows) % 10 == 0, "validation", "train")
    return table(codes(rows, OLD), parts)


def table(found: Any, part: Any, represents: Any = 0.0, answered_at: Any = 0.0) -> pd.DataFrame:
    who = "olga" if np.any(represents) else ""
    return pd.DataFrame({"code": found, "part": part, "image": "", "has_text": True}).assign(
        represents=represents, answered_at=answered_at, labelled_by=who
    )


def drawn(
    rows: int = 400, mix: tuple[float, ...] = NEW, at: float = 1.0, part: str = "train"
) -> pd.DataFrame:
    return table(codes(rows, mix, seed=1), part, 20.0, at)


def context_of(folder: Path, *tables: pd.DataFrame) -> TrainingContext:
    categories = CategorySet.of((code, f"C{code}") for code in range(10, 10 + CLASSES))
    rows = pd.concat(tables, ignore_index=True)
    return TrainingContext(
        TrainingSettings(work=folder),
        Dataset(rows, categories, {}),
        Steps(folder, total=0),
        KeptLog(),
    )


def test_current_mix_is_that_of_the_drawn_answers(tmp_path: Path) -> None:
    mix = answered_mix(context_of(tmp_path, of_files(), drawn()))
    assert mix is not None
    assert mix.labels == 400
    np.testing.assert_allclose(mix.now, NEW, atol=0.05)
    # The labelled rows are training rows, too.
    both = (2_000 * 0.9 * np.array(OLD) + 400 * np.array(NEW)) / 2_200
    np.testing.assert_allclose(mix.trained, both, atol=0.03)


@pytest.mark.parametrize(
    "labelled",
    [
        drawn(LEAST_LABELS - 1),
        drawn(mix=OLD),
        drawn(part="test"),
        table(codes(400, NEW), "train").assign(labelled_by="olga"),
    ],
    ids=["few", "same mix", "rows that test", "volunteered"],
)
def test_other_labels_do_not_tell_the_mix(tmp_path: Path, labelled: pd.DataFrame) -> None:
    assert answered_mix(context_of(tmp_path, of_files(), labelled)) is None


def test_folders_of_files_have_no_current_mix(tmp_path: Path) -> None:
    rows = of_files().drop(columns=["represents", "answered_at", "labelled_by"])
    assert answered_mix(context_of(tmp_path, rows)) is None


def test_newest_answers_tell_the_mix(tmp_path: Path) -> None:
    earlier = drawn(2_000, OLD, at=1.0)
    mix = answered_mix(context_of(tmp_path, of_files(), earlier, drawn(NEWEST, at=2.0)))
    assert mix is not None
    np.testing.assert_allclose(mix.now, NEW, atol=0.06)


def test_labels_of_one_mix_count_although_some_were_drawn_more_often(tmp_path: Path) -> None:
    # Given labels of one mix, of which the newer ones were drawn five times as often in a category
    generator = np.random.default_rng(2)
    answered = codes(4_000, NEW, seed=4)
    chance = np.where(answered == 10, 0.25, 0.05)
    is_drawn = generator.random(4_000) < chance
    newer = table(answered[is_drawn], "train", 1 / chance[is_drawn], 2.0)
    earlier = drawn(200, NEW, at=1.0)
    assert (newer["code"] == 10).mean() > 0.3

    # When the current mix is estimated
    mix = answered_mix(context_of(tmp_path, of_files(), earlier, newer))

    # I expect both to count, each for the answers that it represents
    assert mix is not None
    assert mix.labels == min(NEWEST, 200 + len(newer))
    np.testing.assert_allclose(mix.now, NEW, atol=0.06)


def test_labels_from_before_a_change_do_not_count(tmp_path: Path) -> None:
    earlier = drawn(200, OLD, at=1.0)
    mix = answered_mix(context_of(tmp_path, of_files(), earlier, drawn(150, at=2.0)))
    assert mix is not None
    # A block may lie on both sides of the change.
    assert 100 <= mix.labels <= 200
    np.testing.assert_allclose(mix.now, NEW, atol=0.08)


def test_label_counts_for_the_answers_that_it_represents(tmp_path: Path) -> None:
    # The sample has both categories equally often; one of them was drawn with a third of the odds.
    found = np.tile([10, 12], 200)
    labelled = table(found, "train", np.where(found == 12, 30.0, 10.0), 1.0)
    mix = answered_mix(context_of(tmp_path, of_files(), labelled))
    assert mix is not None
    np.testing.assert_allclose(mix.now, [0.25, 0, 0.75], atol=0.02)


def test_current_mix_is_rarely_another_one_by_chance(tmp_path: Path) -> None:
    found = [
        answered_mix(context_of(tmp_path, of_files(), table(codes(300, OLD, seed), "train", 5.0)))
        for seed in range(100, 115)
    ]
    assert sum(mix is not None for mix in found) <= 1


# The models of a release


def model_of(context: TrainingContext, sure: float) -> Model:
    """Return a model that gives each held-out row its category with a probability."""
    rows = context.data.part("validation")
    held = np.full((len(rows), CLASSES), (1 - sure) / (CLASSES - 1), np.float32)
    held[np.arange(len(rows)), context.data.targets(rows)] = sure
    frame = pd.DataFrame(held, rows.index)
    part = Part(None, Path(), 1.0)
    return Model((part,), frame, held[None], frame.iloc[:5], cast(Any, None), ())


def chosen_of(context: TrainingContext, sure: float) -> Chosen:
    ones = np.ones(CLASSES, np.float32)
    fused = Fused("pool", FusionModel(ones, 0.4 * ones, 0 * ones), cast(Any, SimpleNamespace()))
    models = [model_of(context, sure) for _ in range(3)]
    return Chosen(models[:2], models[2:], fused, [])


def test_all_models_of_a_release_are_adjusted(tmp_path: Path) -> None:
    context = context_of(tmp_path, of_files(), drawn())
    before = chosen_of(context, sure=0.95)
    after, sentence = adjusted(context, before)
    assert sentence == "adjusted to the mix of categories of 400 reviewed answers"
    mix = answered_mix(context)
    assert mix is not None
    for old, new in ((before.text[0], after.text[0]), (before.image[0], after.image[0])):
        np.testing.assert_allclose(new.parts[0].ratios, mix.ratios)
        for frame, other in ((old.held, new.held), (old.test, new.test)):
            np.testing.assert_allclose(other, shifted(frame.to_numpy(), mix.ratios), rtol=1e-5)
    assert after.fusion is not None
    ratios = after.fusion.model.ratios
    assert ratios is not None
    np.testing.assert_allclose(ratios, mix.ratios, rtol=1e-5)
    # Models that do not serve stay as they were judged.
    assert after.text[1] is before.text[1]
    assert before.fusion is not None
    assert before.fusion.model.ratios is None


def test_release_stays_without_a_current_mix(tmp_path: Path) -> None:
    context = context_of(tmp_path, of_files())
    before = chosen_of(context, sure=0.9)
    assert adjusted(context, before) == (before, "")


def test_adjustment_is_only_as_strong_as_the_rows_of_the_files_allow(tmp_path: Path) -> None:
    context = context_of(tmp_path, of_files(), drawn())
    mix = answered_mix(context)
    assert mix is not None
    # The whole adjustment turns every row of the commonest category, half of it none.
    largest = (mix.ratios.max() / mix.ratios.min()) ** 0.7
    sure = largest / (largest + CLASSES - 1)
    after, sentence = adjusted(context, chosen_of(context, float(sure)))
    assert sentence.startswith("adjusted 50% to the mix")
    np.testing.assert_allclose(after.text[0].parts[0].ratios, np.sqrt(mix.ratios))


def test_rows_of_the_files_count_as_their_categories_come_today(tmp_path: Path) -> None:
    # Given a third of the rows of the category that comes less, which the adjustment turns, and
    # half of those of the category that comes more, which it mends
    context = context_of(tmp_path, of_files(), drawn())
    model = model_of(context, 0.99)
    held = model.held.to_numpy(copy=True)
    targets = context.data.targets(context.data.rows.loc[model.held.index])
    turned, mended = (np.flatnonzero(targets == one)[::step] for one, step in ((0, 3), (2, 2)))
    held[turned] = held[mended] = [0.55, 0.01, 0.44]
    frame = pd.DataFrame(held, model.held.index)
    chosen = replace(chosen_of(context, 0.99), text=[replace(model, held=frame)])
    # Then the whole adjustment is made, although it loses on the rows as they are
    after, sentence = adjusted(context, chosen)
    assert sentence.startswith("adjusted to the mix")
    right = [
        (one.to_numpy().argmax(axis=1) == targets).mean() for one in (frame, after.text[0].held)
    ]
    assert right[1] < right[0] - 0.05


def test_adjustment_gives_no_category_up(tmp_path: Path) -> None:
    # Given a category that hardly comes any more, most of whose rows the adjustment turns
    context = context_of(tmp_path, of_files(), drawn(mix=(0.0, 0.2, 0.8)))
    model = model_of(context, 0.99)
    held = model.held.to_numpy(copy=True)
    targets = context.data.targets(context.data.rows.loc[model.held.index])
    held[np.flatnonzero(targets == 0)[10:]] = [0.9, 0.01, 0.09]
    chosen = chosen_of(context, 0.99)
    chosen = replace(chosen, text=[replace(model, held=pd.DataFrame(held, model.held.index))])
    after, sentence = adjusted(context, chosen)
    assert "%" in sentence
    found = after.text[0].held.to_numpy().argmax(axis=1)
    assert (found[targets == 0] == 0).mean() > 0.5


def test_release_stays_if_the_rows_of_the_files_allow_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STRENGTHS", (1.0,))
    context = context_of(tmp_path, of_files(), drawn())
    before = chosen_of(context, sure=0.4)
    assert adjusted(context, before) == (before, "")
    assert "not adjusted" in cast(KeptLog, context.log).lines[-1]


def test_labelled_rows_do_not_speak_against_an_adjustment(tmp_path: Path) -> None:
    wrong = drawn(200, OLD, part="validation").assign(represents=0.0)
    context = context_of(tmp_path, of_files(), drawn(), wrong)
    model = model_of(context, 0.95)
    unsure = model.held.copy()
    unsure[context.data.rows.loc[unsure.index, "labelled_by"] != ""] = 1 / CLASSES
    chosen = replace(chosen_of(context, 0.95), text=[replace(model, held=unsure)])
    assert adjusted(context, chosen)[1].startswith("adjusted to the mix")
