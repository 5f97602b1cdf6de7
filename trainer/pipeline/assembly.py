"""Steps from the chosen models to a release: export, evaluation, drift reference, acceptance test.

Each is a step: a run that chooses the same models as an earlier one reuses its results.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.datasets.folder import Dataset
from trainer.pipeline.context import TrainingContext
from trainer.pipeline.export import ReleaseContents, export_release
from trainer.pipeline.fitting import Model
from trainer.pipeline.fusion_stage import Fused
from trainer.pipeline.leaderboard import Entry
from trainer.pipeline.steps import Step
from trainer.reference.build import measure_reference
from trainer.release.acceptance import (
    Budget,
    Golden,
    GoldenRows,
    PackageVerdict,
    surroundings,
    test_package,
)
from trainer.release.evaluation import evaluate_release
from trainer.release.loaded import LoadedRelease, release_digest

#: Number of rows in the acceptance test.
GOLDEN_ROWS = 64
RELEASE, FIGURES, VERDICT = "release", "figures.json", "verdict.json"


@dataclass(frozen=True)
class Chosen:
    """The models of the release, and all that were tried.

    Attributes:
        text: All text models, the one that serves first.
        image: All image models, the one that serves first.
        fusion: Combines both modalities; `None` if none could be fitted.
        board: The leaderboard.
    """

    text: list[Model]
    image: list[Model]
    fusion: Fused | None
    board: list[Entry]

    @property
    def serving_text(self) -> Model | None:
        """The text model of the release."""
        return self.text[0] if self.text else None

    @property
    def serving_image(self) -> Model | None:
        """The image model of the release; `None` if no fusion combines it with the text model."""
        return self.image[0] if self.image and (self.fusion or not self.text) else None

    @property
    def models(self) -> list[Model]:
        """The serving models, without the fusion."""
        return [model for model in (self.serving_text, self.serving_image) if model is not None]


class _NotPassed(Exception):
    def __init__(self, verdict: PackageVerdict) -> None:
        super().__init__(*verdict.reasons)
        self.verdict = verdict


def export_step(context: TrainingContext, chosen: Chosen) -> Step:
    """Write the release folder, without figures, as `release/` of a step."""
    settings = context.settings
    contents = ReleaseContents(
        name=settings.name,
        categories=context.data.categories.categories,
        text=chosen.serving_text.parts if chosen.serving_text else (),
        image=chosen.serving_image.parts if chosen.serving_image else (),
        fusion=chosen.fusion.model if chosen.fusion else None,
        trained_on=_trained_on(context),
    )
    key = context.key | {
        "name": contents.name,
        "categories": [category.model_dump() for category in contents.categories],
        "parts": [
            [(part.candidate.name, part.temperature, part.weight) for part in model.parts]
            for model in chosen.models
        ],
        "trained_on": contents.trained_on,
    }
    after = [step for model in chosen.models for step in model.steps]
    if chosen.fusion:
        after.append(chosen.fusion.step)
    return context.steps.run(
        "export",
        lambda folder: export_release(contents, folder / RELEASE, settings.storage),
        key=key,
        code=[export_release],
        after=after,
    )


def evaluate_step(context: TrainingContext, exported: Step) -> dict[str, float]:
    """Measure the release folder on the `test` rows, with the code that serves."""
    release = exported.folder / RELEASE

    def measure(folder: Path) -> None:
        parts = evaluate_release(release, context.data).items()
        figures = {name: value for part, f in parts for name, value in f.named(part).items()}
        (folder / FIGURES).write_text(json.dumps(figures, indent=1), "utf-8")

    step = context.steps.run(
        "evaluate",
        measure,
        key={"data": context.fingerprint, "package": release_digest(release)},
        code=[evaluate_release],
        after=(exported,),
    )
    found: dict[str, float] = json.loads((step.folder / FIGURES).read_text("utf-8"))
    return found


def reference_step(context: TrainingContext, exported: Step) -> Step:
    """Compute the drift reference: held-out products, with which the monitor compares answers."""
    release = exported.folder / RELEASE
    return context.steps.run(
        "reference",
        lambda folder: write_reference(release, context.data, folder),
        key={"data": context.fingerprint, "package": release_digest(release)},
        code=[measure_reference],
        after=(exported,),
    )


def write_reference(release: Path, data: Dataset, out: Path) -> None:
    """Write the `reference/` folder of a release into a folder, which may be the release itself.

    Raises:
        InvalidInput: The folder is not a release.
    """
    measure_reference(LoadedRelease.load(release), data).save(out)


def acceptance_step(context: TrainingContext, exported: Step, chosen: Chosen) -> PackageVerdict:
    """Test the release folder in the environments where it will serve.

    Only a passed test is kept: a failed one may have met a busy machine or a full disk.
    """
    release = exported.folder / RELEASE
    budget = context.settings.budget

    def check(folder: Path) -> None:
        golden = _golden(context, chosen, folder / "golden")
        verdict = test_package(release, golden, budget, context.settings.work)
        shutil.rmtree(folder / "golden", ignore_errors=True)
        if not verdict.passed:
            raise _NotPassed(verdict)
        verdict.save(folder / VERDICT)

    try:
        step = context.steps.run(
            "package test",
            check,
            key=_acceptance_key(release, budget),
            # This module chooses the golden rows.
            code=[test_package, acceptance_step],
            after=(exported,),
        )
    except _NotPassed as failed:
        return failed.verdict
    return PackageVerdict.load(step.folder / VERDICT)


def _acceptance_key(release: Path, budget: Budget) -> dict[str, Any]:
    return {
        "package": release_digest(release),
        "budget": vars(budget),
        "surroundings": surroundings(),
    }


def _trained_on(context: TrainingContext) -> str:
    data = context.data
    return (
        f"{len(data.part('train'))} labelled and {len(data.part('weak'))} weakly labelled "
        f"products; data {context.fingerprint[:12]}, seed {context.settings.seed}"
    )


def _golden(context: TrainingContext, chosen: Chosen, folder: Path) -> Golden:
    """Return products with the probabilities of the fitted models, from before the export."""
    text = image = fusion = None
    if chosen.serving_text:
        held = _spread(chosen.serving_text.held)
        rows = context.data.rows.loc[held.index]
        products = zip(rows["designation"], rows["description"], strict=True)
        text = GoldenRows.texts(products, held.to_numpy(np.float32))
    if chosen.serving_image:
        held = _spread(chosen.serving_image.held)
        paths = _files(context.data, held.index, folder)
        image = GoldenRows.images(paths, held.to_numpy(np.float32))
    if chosen.fusion:
        index = chosen.text[0].held.index.intersection(chosen.image[0].held.index)[:GOLDEN_ROWS]
        found = [model.held.loc[index].to_numpy(np.float32) for model in chosen.models]
        fusion = GoldenRows.fusions(found[0], found[1], chosen.fusion.model.combine(*found))
    return Golden(text, image, fusion)


def _files(data: Dataset, index: pd.Index, folder: Path) -> list[Path]:
    """Write the images of some rows into a folder: the acceptance test reads files only."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = [folder / f"{place}.image" for place in range(len(index))]
    for path, reference in zip(paths, data.rows.loc[index, "image"], strict=True):
        path.write_bytes(data.read_image(reference))
    return paths


def _spread(probabilities: pd.DataFrame) -> pd.DataFrame:
    """Return rows spread evenly over all."""
    places = np.linspace(0, len(probabilities) - 1, min(GOLDEN_ROWS, len(probabilities)))
    return probabilities.iloc[np.unique(places.astype(int))]
