"""Train a release from a dataset: the whole pipeline on one page.

read ─ text candidates ─ image candidates ─ fusion candidates ─ export ─ evaluate the release ─
drift reference ─ acceptance test ─ model card. Registration, comparison and promotion follow in
`trainer.runs`. Every step keeps its result for the same data and code; see
`trainer.pipeline.steps`.
"""

import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from shared.errors import InvalidInput
from shared.inference.manifest import ReleaseManifest
from trainer.candidates.fusion.pools import FusionCandidate
from trainer.candidates.image.champion import champion_backbone
from trainer.candidates.onnx.graph import Storage
from trainer.candidates.protocols import ImageCandidate, TextCandidate, Workshop
from trainer.candidates.registry import FUSION, IMAGES, TEXT
from trainer.datasets.folder import Dataset
from trainer.pipeline import assembly
from trainer.pipeline.assembly import Chosen
from trainer.pipeline.fitting import Bench, Model
from trainer.pipeline.fusion_stage import run_fusion
from trainer.pipeline.image_stage import run_images
from trainer.pipeline.leaderboard import as_json, as_markdown, marked
from trainer.pipeline.model_card import model_card
from trainer.pipeline.steps import Steps, parameters
from trainer.pipeline.text_stage import run_texts
from trainer.pipeline.tracking import Tracking
from trainer.reference.sample import REFERENCE
from trainer.release.acceptance import Budget, PackageVerdict
from trainer.release.feature_upload import Online, publish_features

#: Steps of a run with every candidate, for its progress.
EXPECTED_STEPS = 39
RESULT = "result.json"


@dataclass(frozen=True)
class Plan:
    """What to train and where to work.

    Attributes:
        work: Steps, features and other things worth keeping between runs.
        weights: Folder with ImageNet weights; `None` fetches Keras's own.
        champion: Folder of the release that serves; its network of images is tried too.
        storage: How weights are kept in the release.
        weak_weight: How much a weakly labelled row counts beside an officially labelled one.
        budget: Most milliseconds of one product; part of the choice and of the package test.
        online: Where workers look image features up; `None` leaves them to find out.
        progress: File that gets a JSON line for each step.
    """

    work: Path
    weights: Path | None = None
    champion: Path | None = None
    name: str = "rayon"
    seed: int = 0
    storage: Storage = "int8"
    weak_weight: float = 0.7
    budget: Budget = field(default_factory=Budget)
    online: Online | None = None
    progress: Path | None = None


def train(plan: Plan, data: Dataset, out: Path, tracking: Tracking) -> ReleaseManifest:
    """Try all candidates, export the best, measure and test it; `out` becomes the release's folder.

    Beside it, `result.json` says whether the release may be delivered.

    Raises:
        InvalidInput: The data cannot be trained on.
        StepFailed: The disk is full.
    """
    plan.work.mkdir(parents=True, exist_ok=True)
    steps = Steps(plan.work, total=EXPECTED_STEPS, progress=plan.progress)
    workshop = Workshop(plan.seed, plan.weights, plan.storage, tracking.tell, tracking.curve)
    bench = Bench(data, steps, workshop, plan.work, data.fingerprint, plan.weak_weight)
    parts = data.rows["part"].value_counts().to_dict()
    tracking.tell(f"read {len(data.rows)} products: {parts}")
    tracking.parameters(_parameters(plan, bench))
    chosen = _choose(plan, bench)
    exported = assembly.export(bench, chosen, plan.name)
    figures = assembly.evaluate(bench, exported)
    reference = assembly.reference(bench, exported)
    verdict = assembly.test(bench, exported, chosen, plan.budget)
    for reason in verdict.reasons:
        tracking.tell(f"the package does not pass: {reason}")
    aside = out.with_name(f".{out.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(exported.folder / assembly.RELEASE, aside)
    shutil.copytree(reference.folder / REFERENCE.parent, aside / REFERENCE.parent)
    manifest = ReleaseManifest.read(aside).model_copy(
        update={"figures": figures | verdict.figures(), "created_at": datetime.now(UTC)}
    )
    manifest.write(aside)
    has_weak_labels = bool(len(data.part("weak")))
    card = model_card(manifest, chosen.board, _settings(plan), has_weak_labels=has_weak_labels)
    (aside / "MODEL_CARD.md").write_text(card, "utf-8")
    shutil.rmtree(out, ignore_errors=True)
    aside.rename(out)
    if plan.online and verdict.passed:
        images = data.part("train", image=True)["image"].tolist()
        publish_features(out, plan.work / "features", images, plan.online, tracking.tell)
    _report(bench, chosen, verdict, manifest, out, tracking)
    steps.prune()
    return manifest


def _choose(plan: Plan, bench: Bench) -> Chosen:
    texts = run_texts(bench, TEXT, plan.budget.text_ms)
    images, missing = run_images(bench, _images(plan), plan.budget.image_ms)
    if not texts and not images:
        raise InvalidInput("Expected products with texts or readable images. Received: neither")
    fused, entries = run_fusion(bench, FUSION, texts, images) if texts and images else (None, [])
    board = [
        *marked([model.entry for model in texts], texts[0].entry if texts else None),
        *marked([model.entry for model in images], images[0].entry if images else None),
        *missing,
        *marked(entries, next((one for one in entries if fused and one.name == fused.name), None)),
    ]
    return Chosen(texts, images, fused, board)


def _report(
    bench: Bench,
    chosen: Chosen,
    verdict: PackageVerdict,
    manifest: ReleaseManifest,
    out: Path,
    tracking: Tracking,
) -> None:
    result = {
        "status": "ready" if verdict.passed else "rejected",
        "reason": " ".join(verdict.reasons) or None,
        "dataset": {"fingerprint": bench.fingerprint},
        "figures": manifest.figures,
        "mlflow_run": tracking.run_id,
    }
    beside = out.parent
    (beside / "leaderboard.md").write_text(as_markdown(chosen.board) + "\n", "utf-8")
    (beside / "leaderboard.json").write_text(json.dumps(as_json(chosen.board), indent=1), "utf-8")
    (beside / "steps.md").write_text(bench.steps.table() + "\n", "utf-8")
    tracking.figures(manifest.figures)
    for model in (*chosen.text[:1], *chosen.image[:1]):
        _plots(bench, model, tracking)
    for name in ("leaderboard.md", "leaderboard.json", "steps.md"):
        tracking.file(beside / name)
    tracking.file(out / "MODEL_CARD.md")
    tracking.tell(as_markdown(chosen.board))
    tracking.tell(bench.steps.table())
    # Last: who finds it finds everything else too.
    (beside / RESULT).write_text(json.dumps(result, indent=1), "utf-8")


def _plots(bench: Bench, model: Model, tracking: Tracking) -> None:
    rows = bench.data.rows.loc[model.test.index]
    if len(rows):
        tracking.predictions(
            model.entry.name,
            model.test.to_numpy(np.float32),
            bench.data.targets(rows),
            [str(code) for code in bench.data.categories.codes],
        )


def _parameters(plan: Plan, bench: Bench) -> dict[str, object]:
    found: dict[str, object] = {
        "data": bench.fingerprint,
        "seed": plan.seed,
        "storage": plan.storage,
        "weak_weight": plan.weak_weight,
        "budget": vars(plan.budget),
    }
    return found | _settings(plan)


def _settings(plan: Plan) -> dict[str, dict[str, object]]:
    candidates: tuple[TextCandidate | ImageCandidate | FusionCandidate, ...] = (
        *TEXT,
        *_images(plan),
        *FUSION,
    )
    return {one.name: parameters(one.settings) for one in candidates}


def _images(plan: Plan) -> tuple[ImageCandidate, ...]:
    # Last: where a network that is named is as good, its name tells more.
    return (*IMAGES, *champion_backbone(plan.champion))
