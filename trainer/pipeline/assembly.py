"""Steps from the chosen models to a release: export, evaluation, drift reference, acceptance test.

Each is a step: a run that chooses the same models as an earlier one reuses its results.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer.datasets.folder import Dataset
from trainer.pipeline.agreement import Form
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.export import ReleaseContents, export_release
from trainer.pipeline.held_out import (
    Chosen,
    confidence_of,
    golden_rows,
    held_out_rows,
    novelty_of,
)
from trainer.pipeline.steps import Step
from trainer.reference.build import measure_reference
from trainer.release.acceptance import PackageVerdict, test_package
from trainer.release.environments import surroundings
from trainer.release.evaluation import evaluate_release
from trainer.release.loaded import LoadedRelease, release_digest

RELEASE, FIGURES, FORMS, VERDICT = "release", "figures.json", "forms.json", "verdict.json"
CONFIDENCE = "confidence.json"


class _NotPassed(Exception):
    def __init__(self, verdict: PackageVerdict) -> None:
        super().__init__(*verdict.reasons)
        self.verdict = verdict


@dataclass(frozen=True)
class Shipped:
    """Models of a release.

    Attributes:
        chosen: The fitted models that ship.
        measured: The same models as they answered rows that they were not fitted on.
        sentences: Later changes of the models, for the model card; empty ones are left out.
    """

    chosen: Chosen
    measured: Chosen
    sentences: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """True after a final fit."""
        return self.chosen is not self.measured


def export_step(context: TrainingContext, shipped: Shipped) -> Step:
    """Write the release folder, without figures, as a step; some of them are in files beside it."""
    settings, chosen, measured = context.settings, shipped.chosen, shipped.measured
    contents = ReleaseContents(
        name=settings.name,
        categories=context.data.categories.categories,
        text=chosen.serving_text.parts if chosen.serving_text else (),
        image=chosen.serving_image.parts if chosen.serving_image else (),
        fusion=chosen.fusion.model if chosen.fusion else None,
        trained_on="; ".join(filter(None, (_trained_on(context), *shipped.sentences))),
    )
    key = context.key | {
        "name": contents.name,
        "categories": [category.model_dump() for category in contents.categories],
        "parts": [
            [(part.candidate.name, *part.numbers) for part in model.parts]
            for model in chosen.models
        ],
        "trained_on": contents.trained_on,
    }
    after = [step for model in chosen.models for step in model.steps]
    if chosen.fusion:
        after.append(chosen.fusion.step)

    def export(folder: Path) -> None:
        held = held_out_rows(context, chosen)
        release = folder / RELEASE
        forms = export_release(contents, release, settings.storage, held, context.log_line)
        novelty_of(context, measured).save(release / "fusion")
        stated = confidence_of(context, measured).items()
        numbers = {name: one for kind, of in stated for name, one in of.named(kind).items()}
        (folder / CONFIDENCE).write_text(json.dumps(numbers, indent=1), "utf-8")
        found = [form.record() for form in forms]
        (folder / FORMS).write_text(json.dumps(found, indent=1), "utf-8")

    return context.steps.run(
        "final export" if shipped.is_final else "export",
        export,
        key=key,
        code=[export_release, held_out_rows, novelty_of, confidence_of],
        after=after,
    )


def confidence_figures(exported: Step) -> dict[str, float]:
    """Return what the release states about its confidences, by the names of its figures."""
    found: dict[str, float] = json.loads((exported.folder / CONFIDENCE).read_text("utf-8"))
    return found


def forms_of(exported: Step, f1_of: Sequence[Form] = ()) -> list[Form]:
    """Return the number formats of the release's parts, and how well they agree.

    Args:
        exported: The export.
        f1_of: Forms of an earlier export, whose F1 takes the place of the F1 of models that have
            learnt from the compared rows.
    """
    found = [Form(**one) for one in json.loads((exported.folder / FORMS).read_text("utf-8"))]
    before = {form.part: form for form in f1_of}
    return [
        replace(one, fitted_f1=form.fitted_f1, exported_f1=form.exported_f1)
        if (form := before.get(one.part))
        else one
        for one in found
    ]


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
        golden = golden_rows(context, chosen, folder / "golden")
        verdict = test_package(
            release,
            golden,
            budget,
            context.settings.work,
            is_offline=context.settings.is_offline,
        )
        shutil.rmtree(folder / "golden", ignore_errors=True)
        if not verdict.passed:
            raise _NotPassed(verdict)
        verdict.save(folder / VERDICT)

    try:
        step = context.steps.run(
            "package test",
            check,
            key=_acceptance_key(release, context.settings),
            code=[test_package, golden_rows],
            after=(exported,),
        )
    except _NotPassed as failed:
        return failed.verdict
    return PackageVerdict.load(step.folder / VERDICT)


def _acceptance_key(release: Path, settings: TrainingSettings) -> dict[str, Any]:
    return {
        "package": release_digest(release),
        "budget": vars(settings.budget),
        "offline": settings.is_offline,
        "surroundings": surroundings(),
    }


def _trained_on(context: TrainingContext) -> str:
    data = context.data
    return (
        f"{len(data.part('train'))} labelled and {len(data.part('weak'))} weakly labelled "
        f"products; data {context.fingerprint[:12]}, seed {context.settings.seed}"
    )
