"""Image stage: fit, calibrate and measure each image candidate."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray

from shared.inference.manifest import IMAGE_INPUT
from shared.inference.onnx_session import open_fastest, open_session
from trainer.candidates.imagenet import WeightsMissing
from trainer.candidates.protocols import ImageCandidate, Labels
from trainer.pipeline.context import TrainingContext
from trainer.pipeline.export import export_head
from trainer.pipeline.fitting import (
    PARTS,
    Model,
    Part,
    chosen_first,
    entry_of,
    judged,
    keep_speed,
    predict,
    probabilities,
    speed,
    temperature,
    uncalibrated,
)
from trainer.pipeline.leaderboard import Entry
from trainer.pipeline.row_images import RowImages, readable
from trainer.pipeline.steps import Step, parameters
from trainer.release.response_times import measure_latency

#: Number of images in the latency measurement.
TIMED_IMAGES = 24


@dataclass(frozen=True)
class _ImageRows:
    """Rows and their readable images, by use: `fit`, `held`, `test`."""

    rows: dict[str, pd.DataFrame]
    images: dict[str, RowImages]
    labels: Labels


def run_image_stage(
    context: TrainingContext, candidates: Sequence[ImageCandidate]
) -> tuple[list[Model], list[Entry]]:
    """Fit every image candidate; the chosen model comes first.

    Returns:
        The models, and entries of candidates that could not be tried.
    """
    rows = {name: readable_rows(context, name, parts) for name, parts in PARTS.items()}
    if not len(rows["fit"]) or not len(rows["held"]):
        context.log_line("no readable images: this release has no image model")
        return [], []
    products = _ImageRows(
        rows,
        {name: RowImages(part, context.features, context.log_line) for name, part in rows.items()},
        context.labels(rows["fit"]),
    )
    reasons = {one.name: one.unavailable_reason(context.fit) for one in candidates}
    untried = [Entry(name, "image", note=why) for name, why in reasons.items() if why]
    for entry in untried:
        context.log_line(f"{entry.name} is skipped: {entry.note}")
    outcomes = [_outcome(context, one, products) for one in candidates if not reasons[one.name]]
    models = [one for one in outcomes if isinstance(one, Model)]
    untried += [one for one in outcomes if isinstance(one, Entry)]
    budget_ms = context.settings.budget.image_ms
    return chosen_first(context, models, rows["held"], budget_ms) if models else [], untried


def _outcome(
    context: TrainingContext, candidate: ImageCandidate, products: _ImageRows
) -> Model | Entry:
    """Return the model, or an entry with the reason: missing weights must not end the training."""
    try:
        return _run(context, candidate, products)
    except WeightsMissing as error:
        context.log_line(f"{candidate.name} is skipped: {error.detail}")
        return Entry(candidate.name, "image", note=error.detail)


def _run(context: TrainingContext, candidate: ImageCandidate, products: _ImageRows) -> Model:
    fitted = fit_images(context, candidate, products.images["fit"], products.labels)
    predicted = predict(
        context,
        candidate,
        fitted,
        lambda name: candidate.predict(products.images[name], fitted.folder),
    )
    found = temperature(context, products.rows["held"], predicted)
    parts = (Part(candidate, fitted.folder, found),)
    held, test = probabilities(parts[0], predicted, products.rows)
    scores = judged(context, products.rows["held"], predicted)
    entry = replace(
        entry_of(context, candidate.name, "image", products.rows, scores, test),
        before_calibration=uncalibrated(context, products.rows["test"], predicted),
        fit_seconds=fitted.seconds,
        **_image_speed(context, parts, fitted),
    )
    return Model(parts, held, scores, test, entry, (fitted,))


def fit_images(
    context: TrainingContext,
    candidate: ImageCandidate,
    images: RowImages,
    labels: Labels,
    which: str = "",
    backbone: Path | None = None,
) -> Step:
    """Fit a candidate on images, as a step.

    Args:
        context: Context of the run.
        candidate: The candidate.
        images: Images to fit on.
        labels: Their labels.
        which: Names the step apart from that of another fit.
        backbone: A backbone to start with, as the candidate keeps it, whose features are known.
    """

    def fit(folder: Path) -> None:
        if backbone is not None:
            shutil.copyfile(backbone, folder / backbone.name)
        candidate.fit(images, labels, folder, context.fit)

    return context.steps.run(
        f"{candidate.name} {which}fit",
        fit,
        key=context.key
        | {"labels": labels.digest, "arithmetic": context.settings.arithmetic}
        | parameters(candidate.settings),
        code=[candidate, RowImages],
    )


def _image_speed(context: TrainingContext, parts: tuple[Part, ...], fitted: Step) -> dict[str, Any]:
    candidate, folder = parts[0].candidate, parts[0].folder

    def measure(into: Path) -> None:
        onnx.save(export_head(parts, context.settings.storage), into / "head.onnx")
        backbone = open_fastest(folder / "backbone.onnx", threads=0)
        head = open_session(into / "head.onnx", threads=0)
        generator = np.random.default_rng(0)
        shape = (candidate.size, candidate.size, 3)
        pixels = [generator.integers(0, 255, shape, np.uint8) for _ in range(TIMED_IMAGES)]

        def call(batch: Sequence[NDArray[np.uint8]]) -> object:
            found = backbone.run(["features"], {IMAGE_INPUT: np.stack(batch)})[0]
            return head.run(None, {"features": found})

        latency, rate = measure_latency(call, pixels, batch=4)
        keep_speed(into, latency, rate, (into / "head.onnx", folder / "backbone.onnx"))

    return speed(context, candidate.name, measure, parts, exporter=export_head, after=(fitted,))


def readable_rows(context: TrainingContext, name: str, parts: Sequence[str]) -> pd.DataFrame:
    """Return the rows of some parts whose images decode completely, as a step."""
    rows = context.data.part(*parts, image=True)
    step = context.steps.run(
        f"images {name}",
        lambda folder: np.save(folder / "readable.npy", readable(rows, size=64)),
        key={"data": context.fingerprint, "parts": list(parts), "rows": len(rows)},
        code=[readable],
    )
    kept: pd.DataFrame = rows[np.load(step.folder / "readable.npy")]
    if len(kept) < len(rows):
        context.log_line(f"{len(rows) - len(kept)} of {len(rows)} images cannot be read")
    return kept
