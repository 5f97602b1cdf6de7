"""Train a release from a dataset: the whole pipeline on one page.

read ─ text stage ─ image stage ─ fusion stage ─ export ─ evaluate the release ─
drift reference ─ acceptance test ─ model card. Registration, comparison and promotion follow in
`trainer.runs`. Every step keeps its result for the same data and code; see
`trainer.pipeline.steps`.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from shared.inference.manifest import ReleaseManifest
from trainer.candidates.fusion.pools import FusionCandidate
from trainer.candidates.image.backbone import FORM
from trainer.candidates.protocols import ImageCandidate, TextCandidate
from trainer.datasets.folder import Dataset
from trainer.pipeline import assembly
from trainer.pipeline.agreement import Form, forms_as_markdown
from trainer.pipeline.chosen.answered_mix import adjusted
from trainer.pipeline.chosen.final_fit import final_fit
from trainer.pipeline.chosen.unlabelled_answers import candidates_again, with_answers
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.fitting import Model
from trainer.pipeline.fusion_stage import run_fusion_stage
from trainer.pipeline.held_out import Chosen
from trainer.pipeline.image_stage import run_image_stage
from trainer.pipeline.leaderboard import as_json, as_markdown, marked
from trainer.pipeline.lineup import candidates_of, expected_steps
from trainer.pipeline.model_card import labels_as_markdown, model_card, training_as_markdown
from trainer.pipeline.steps import Step, Steps, parameters
from trainer.pipeline.text.stage import run_text_stage
from trainer.pipeline.tracking import Tracking
from trainer.reference.sample import REFERENCE
from trainer.release.acceptance import PackageVerdict
from trainer.release.feature_upload import publish_features

RESULT = "result.json"


def train(
    settings: TrainingSettings, data: Dataset, out: Path, tracking: Tracking
) -> ReleaseManifest:
    """Try all candidates, export the best, measure and test it; `out` becomes the release folder.

    `result.json` beside it states if the release may be delivered. A release that does not pass its
    test lies in `not_passed(out)`, and what lay in `out` stays.

    Raises:
        InvalidInput: The data cannot be trained on.
        StepFailed: The disk is full.
    """
    settings, out = settings.absolute(), out.absolute()
    settings.work.mkdir(parents=True, exist_ok=True)
    steps = Steps(settings.work, total=expected_steps(settings, data), progress=settings.progress)
    context = TrainingContext(settings, data, steps, tracking)
    parts = data.rows["part"].value_counts().to_dict()
    tracking.log_line(f"read {len(data.rows)} products: {parts}")
    tracking.parameters(_parameters(context))
    texts, chosen, sentence = _adjusted(context, _choose(context))
    exported = assembly.export_step(context, assembly.Shipped(chosen, chosen, (sentence,)))
    # On rows that no model was fitted on, before the final fit.
    reference = assembly.reference_step(context, exported)
    figures, forms = assembly.evaluate_step(context, exported), assembly.forms_of(exported)
    shipped, final = chosen, final_fit(context, texts, chosen)
    if final is not None:
        shipped = final.chosen
        sentences = (sentence, final.sentence())
        exported = assembly.export_step(context, assembly.Shipped(shipped, chosen, sentences))
        if final.test_rows:
            forms = assembly.forms_of(exported, f1_of=forms)
        else:
            figures, forms = assembly.evaluate_step(context, exported), assembly.forms_of(exported)
        figures |= final.figures()
    verdict = assembly.acceptance_step(context, exported, shipped)
    for reason in verdict.reasons:
        tracking.log_line(f"the package does not pass: {reason}")
    shutil.rmtree(not_passed(out), ignore_errors=True)
    folder = out if verdict.passed else not_passed(out)
    manifest = _write_release(
        context, shipped, (exported, reference), forms, figures | verdict.figures(), folder
    )
    if settings.upload_target and verdict.passed:
        images = data.part("train", image=True)["image"].tolist()
        publish_features(out, context.features, images, settings.upload_target, tracking.log_line)
    _report(context, shipped, verdict, manifest, folder, tracking)
    steps.prune()
    return manifest


def not_passed(out: Path) -> Path:
    """Return where a release lies that does not pass its test."""
    return out.with_name(f"{out.name}.not-passed")


def _write_release(
    context: TrainingContext,
    chosen: Chosen,
    steps: tuple[Step, Step],
    forms: Sequence[Form],
    figures: dict[str, float],
    out: Path,
) -> ReleaseManifest:
    exported, reference = steps
    unfinished = out.with_name(f".{out.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(exported.folder / assembly.RELEASE, unfinished)
    shutil.copytree(reference.folder / REFERENCE.parent, unfinished / REFERENCE.parent)
    figures |= {name: value for form in forms for name, value in form.figures().items()}
    figures |= assembly.confidence_figures(exported)
    manifest = ReleaseManifest.read(unfinished).model_copy(
        update={"figures": figures, "created_at": datetime.now(UTC)}
    )
    manifest.write(unfinished)
    card = model_card(
        manifest,
        chosen.board,
        _candidate_settings(context),
        has_weak_labels=bool(len(context.data.part("weak"))),
        labels=context.data.label_shares,
        forms=forms_as_markdown(forms, _backbone_form(chosen)),
        training=training_as_markdown(context.steps.finished, os.cpu_count() or 1),
    )
    (unfinished / "MODEL_CARD.md").write_text(card, "utf-8")
    shutil.rmtree(out, ignore_errors=True)
    unfinished.rename(out)
    return manifest


def _backbone_form(chosen: Chosen) -> dict[str, Any] | None:
    """Return the number format of the image network; `None` if it is a copy of the champion's."""
    if chosen.serving_image is None:
        return None
    path = chosen.serving_image.parts[0].folder / FORM
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else None


def _choose(context: TrainingContext) -> Chosen:
    candidates = candidates_of(context)
    texts, no_texts = run_text_stage(context, candidates.text, candidates.students)
    images, no_images = run_image_stage(context, candidates.image)
    if not texts and not images:
        raise InvalidInput("Expected products with texts or readable images. Received: neither")
    fused, entries = (
        run_fusion_stage(context, candidates.fusion, texts, images)
        if texts and images
        else (None, [])
    )
    board = [
        *marked([model.entry for model in texts], texts[0].entry if texts else None),
        *marked([model.entry for model in images], images[0].entry if images else None),
        *no_texts,
        *no_images,
        *marked(entries, next((one for one in entries if fused and one.name == fused.name), None)),
    ]
    return Chosen(texts, images, fused, board)


def _adjusted(context: TrainingContext, chosen: Chosen) -> tuple[TrainingContext, Chosen, str]:
    """Adjust the models to what comes now.

    Returns:
        The context with all rows that the text model has learnt from, the models, and a sentence
        about the adjustment.
    """
    if chosen.serving_text is None:
        return context, *adjusted(context, chosen)
    more, learnt = with_answers(context, chosen.serving_text)
    if learnt:
        chosen = _taught(context, more, chosen)
    # The mix of the training rows includes what was learnt from.
    chosen, mix = adjusted(more, chosen)
    return more, chosen, "; ".join(filter(None, (learnt, mix)))


def _taught(context: TrainingContext, more: TrainingContext, chosen: Chosen) -> Chosen:
    """Fit the text model that serves on more rows, and combine it with the image model again."""
    candidates = candidates_of(context)
    again = candidates_again(chosen.text[0], candidates.text, candidates.students)
    texts, _ = run_text_stage(more, *again)
    fusion = chosen.fusion
    if fusion is not None:
        fusion, _ = run_fusion_stage(context, candidates.fusion, texts, chosen.image)
    return replace(chosen, text=texts, fusion=fusion)


def _report(
    context: TrainingContext,
    chosen: Chosen,
    verdict: PackageVerdict,
    manifest: ReleaseManifest,
    out: Path,
    tracking: Tracking,
) -> None:
    result = {
        "status": "ready" if verdict.passed else "rejected",
        "reason": " ".join(verdict.reasons) or None,
        "folder": str(out),
        "dataset": {"fingerprint": context.fingerprint},
        "figures": manifest.figures,
        "mlflow_run": tracking.run_id,
        "labels": [share.model_dump() for share in context.data.label_shares],
    }
    beside = out.parent
    board = f"{as_markdown(chosen.board)}\n\n{labels_as_markdown(context.data.label_shares)}\n"
    (beside / "leaderboard.md").write_text(board, "utf-8")
    (beside / "leaderboard.json").write_text(json.dumps(as_json(chosen.board), indent=1), "utf-8")
    (beside / "steps.md").write_text(context.steps.table() + "\n", "utf-8")
    tracking.figures(manifest.figures)
    for model in (*chosen.text[:1], *chosen.image[:1]):
        _plots(context, model, tracking)
    for name in ("leaderboard.md", "leaderboard.json", "steps.md"):
        tracking.file(beside / name)
    tracking.file(out / "MODEL_CARD.md")
    tracking.log_line(as_markdown(chosen.board))
    tracking.log_line(context.steps.table())
    # Written last: once it exists, all other files exist too.
    (beside / RESULT).write_text(json.dumps(result, indent=1), "utf-8")


def _plots(context: TrainingContext, model: Model, tracking: Tracking) -> None:
    rows = context.data.rows.loc[model.test.index]
    if len(rows):
        tracking.predictions(
            model.entry.name,
            model.test.to_numpy(np.float32),
            context.data.targets(rows),
            [category.name for category in context.data.categories.categories],
        )


def _parameters(context: TrainingContext) -> dict[str, object]:
    settings = context.settings
    found: dict[str, object] = {
        "data": context.fingerprint,
        "seed": settings.seed,
        "storage": settings.storage,
        "weak_weight": settings.weak_weight,
        "class_balance": settings.class_balance,
        "budget": vars(settings.budget),
        "labels": {share.user: share.rows for share in context.data.label_shares},
    }
    return found | _candidate_settings(context)


def _candidate_settings(context: TrainingContext) -> dict[str, dict[str, object]]:
    found = candidates_of(context)
    candidates: tuple[TextCandidate | ImageCandidate | FusionCandidate, ...] = (
        *found.text,
        *found.students,
        *found.image,
        *found.fusion,
    )
    return {one.name: parameters(one.settings) for one in candidates}
