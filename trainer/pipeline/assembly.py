"""Makes the chosen models a release folder, measures it as it will serve, tests it where it will.

Each is a step: a run that chooses what an earlier one chose repeats none of it.
"""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shared.inference.manifest import ReleaseManifest
from trainer.datasets.folder import Dataset
from trainer.pipeline.export import export_image, export_text
from trainer.pipeline.fitting import Bench, Model
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

#: Rows of the package test.
GOLDEN_ROWS = 64
RELEASE, FIGURES, VERDICT = "release", "figures.json", "verdict.json"
#: Modules that decide what a release says of itself and how it is measured.
EXPORT_CODE = (
    "shared.inference.preparation.image",
    "shared.inference.manifest",
    "shared.inference.preparation.text",
    "trainer.pipeline.assembly",
    "trainer.pipeline.export",
    "trainer.release.image_features",
    "trainer.candidates.onnx.graph",
)
EVALUATION_CODE = (
    "shared.inference.releases.fusion_model",
    "shared.inference.preparation.image",
    "shared.inference.releases.image_model",
    "shared.inference.preparation.ngrams",
    "shared.inference.onnx_session",
    "shared.inference.preparation.text",
    "trainer.candidates.calibration",
    "trainer.release.evaluation",
    "trainer.release.loaded",
)
REFERENCE_CODE = (
    *EVALUATION_CODE,
    "trainer.datasets.languages",
    "trainer.reference.descriptors",
    "trainer.reference.build",
    "trainer.reference.sample",
)
TEST_CODE = ("trainer.pipeline.assembly", "trainer.release.acceptance")


@dataclass(frozen=True)
class Chosen:
    """The models of the release, and everything that was tried.

    Attributes:
        text: All text models, the one that serves first.
        image: The same of images.
        fusion: Joins both, where it can.
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
        """The image model; one that cannot be joined to a text would only serve images."""
        return self.image[0] if self.image and (self.fusion or not self.text) else None

    @property
    def models(self) -> list[Model]:
        """What serves, without the fusion."""
        return [model for model in (self.serving_text, self.serving_image) if model is not None]


class _NotPassed(Exception):
    def __init__(self, verdict: PackageVerdict) -> None:
        super().__init__(*verdict.reasons)
        self.verdict = verdict


def export(bench: Bench, chosen: Chosen, name: str) -> Step:
    """Write the release's folder, without figures; it is the step's `release/`."""
    key = bench.key | {
        "name": name,
        "categories": [category.model_dump() for category in bench.data.categories.categories],
        "parts": [
            [(part.candidate.name, part.temperature, part.weight) for part in model.parts]
            for model in chosen.models
        ],
        "trained_on": _trained_on(bench),
    }
    after = [step for model in chosen.models for step in model.steps]
    if chosen.fusion:
        after.append(chosen.fusion.step)
    return bench.steps.run(
        "export",
        lambda folder: _export(bench, chosen, name, folder / RELEASE),
        key=key,
        code=EXPORT_CODE,
        after=after,
    )


def evaluate(bench: Bench, exported: Step) -> dict[str, float]:
    """Measure the folder on the `test` rows, with the code that serves."""
    release = exported.folder / RELEASE

    def measure(folder: Path) -> None:
        parts = evaluate_release(release, bench.data).items()
        figures = {name: value for part, f in parts for name, value in f.named(part).items()}
        (folder / FIGURES).write_text(json.dumps(figures, indent=1), "utf-8")

    step = bench.steps.run(
        "evaluate",
        measure,
        key={"data": bench.fingerprint, "package": release_digest(release)},
        code=EVALUATION_CODE,
        after=(exported,),
    )
    found: dict[str, float] = json.loads((step.folder / FIGURES).read_text("utf-8"))
    return found


def reference(bench: Bench, exported: Step) -> Step:
    """Describe held-out products, with which answers are compared later; see the monitor."""
    release = exported.folder / RELEASE
    return bench.steps.run(
        "reference",
        lambda folder: refer(release, bench.data, folder),
        key={"data": bench.fingerprint, "package": release_digest(release)},
        code=REFERENCE_CODE,
        after=(exported,),
    )


def refer(release: Path, data: Dataset, out: Path) -> None:
    """Write the `reference/` folder of a release into a folder, which may be the release itself.

    Raises:
        InvalidInput: It is not a release.
    """
    measure_reference(LoadedRelease.load(release), data).save(out)


def test(bench: Bench, exported: Step, chosen: Chosen, budget: Budget) -> PackageVerdict:
    """Test the folder where it will serve.

    Only a passed test is kept: what failed may have met a busy machine or a full disk.
    """
    release = exported.folder / RELEASE

    def ask(folder: Path) -> None:
        golden = _golden(bench, chosen, folder / "golden")
        verdict = test_package(release, golden, budget, bench.work)
        shutil.rmtree(folder / "golden", ignore_errors=True)
        if not verdict.passed:
            raise _NotPassed(verdict)
        verdict.save(folder / VERDICT)

    key: dict[str, Any] = {
        "package": release_digest(release),
        "budget": vars(budget),
        "surroundings": surroundings(),
    }
    try:
        step = bench.steps.run("package test", ask, key=key, code=TEST_CODE, after=(exported,))
    except _NotPassed as failed:
        return failed.verdict
    return PackageVerdict.load(step.folder / VERDICT)


def _export(bench: Bench, chosen: Chosen, name: str, folder: Path) -> None:
    # A half that was left by a run that was stopped.
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("text", "image", "fusion"):
        (folder / part).mkdir(parents=True)
    text = image = None
    storage = bench.workshop.storage
    if chosen.serving_text:
        text = export_text(chosen.serving_text.parts, folder / "text", storage)
    if chosen.serving_image:
        image = export_image(chosen.serving_image.parts, folder / "image", storage)
    if chosen.fusion:
        chosen.fusion.model.save(folder / "fusion")
    manifest = ReleaseManifest(
        name=name,
        created_at=datetime.now(UTC),
        categories=bench.data.categories.categories,
        text=text,
        image=image,
        trained_on=_trained_on(bench),
    )
    manifest.write(folder)


def _trained_on(bench: Bench) -> str:
    data = bench.data
    return (
        f"{len(data.part('train'))} labelled and {len(data.part('weak'))} weakly labelled "
        f"products; data {bench.fingerprint[:12]}, seed {bench.workshop.seed}"
    )


def _golden(bench: Bench, chosen: Chosen, folder: Path) -> Golden:
    """Products whose answers the fitted models gave before they were exported."""
    text = image = fusion = None
    if chosen.serving_text:
        held = _some(chosen.serving_text.held)
        rows = bench.data.rows.loc[held.index]
        products = zip(rows["designation"], rows["description"], strict=True)
        text = GoldenRows.texts(products, held.to_numpy(np.float32))
    if chosen.serving_image:
        held = _some(chosen.serving_image.held)
        paths = _files(bench.data, held.index, folder)
        image = GoldenRows.images(paths, held.to_numpy(np.float32))
    if chosen.fusion:
        index = chosen.text[0].held.index.intersection(chosen.image[0].held.index)[:GOLDEN_ROWS]
        found = [model.held.loc[index].to_numpy(np.float32) for model in chosen.models]
        fusion = GoldenRows.fusions(found[0], found[1], chosen.fusion.model.combine(*found))
    return Golden(text, image, fusion)


def _files(data: Dataset, index: pd.Index, folder: Path) -> list[Path]:
    """Write the images of some rows into a folder: the package test has files alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    paths = [folder / f"{place}.image" for place in range(len(index))]
    for path, reference in zip(paths, data.rows.loc[index, "image"], strict=True):
        path.write_bytes(data.read_image(reference))
    return paths


def _some(probabilities: pd.DataFrame) -> pd.DataFrame:
    """Rows spread evenly over all."""
    places = np.linspace(0, len(probabilities) - 1, min(GOLDEN_ROWS, len(probabilities)))
    return probabilities.iloc[np.unique(places.astype(int))]
