"""The image candidates: each fitted, calibrated and measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray

from shared.inference.manifest import IMAGE_INPUT
from shared.inference.onnx_session import open_session
from trainer.candidates.imagenet import WeightsMissing
from trainer.candidates.protocols import ImageCandidate, Labels
from trainer.pipeline.export import export_head
from trainer.pipeline.fitting import (
    HELD,
    Bench,
    Model,
    Part,
    chosen_first,
    entry_of,
    keep_speed,
    predict,
    probabilities,
    speed,
    temperature,
    uncalibrated,
)
from trainer.pipeline.leaderboard import Entry, measure_latency
from trainer.pipeline.row_images import RowImages, readable
from trainer.pipeline.steps import Step, parameters

#: Images of the latency measurement.
TIMED_IMAGES = 24


@dataclass(frozen=True)
class _Given:
    """Rows and their readable images: to fit on, held out, and `test`."""

    rows: dict[str, pd.DataFrame]
    images: dict[str, RowImages]
    labels: Labels


def run_images(
    bench: Bench, candidates: Sequence[ImageCandidate], budget_ms: float
) -> tuple[list[Model], list[Entry]]:
    """Fit every image candidate; the chosen model comes first.

    Returns:
        The models, and entries of candidates that could not be tried.
    """
    rows = {
        name: readable_rows(bench, name, parts)
        for name, parts in {"fit": ("train", "weak"), "held": HELD, "test": ("test",)}.items()
    }
    if not len(rows["fit"]) or not len(rows["held"]):
        bench.workshop.tell("no readable images: this release has no image model")
        return [], []
    store = bench.work / "features"
    given = _Given(
        rows,
        {name: RowImages(part, store, bench.workshop.tell) for name, part in rows.items()},
        bench.labels(rows["fit"]),
    )
    reasons = {candidate.name: candidate.missing(bench.workshop) for candidate in candidates}
    missing = [Entry(name, "image", note=why) for name, why in reasons.items() if why]
    for entry in missing:
        bench.workshop.tell(f"{entry.name} is not tried: {entry.note}")
    tried = [_tried(bench, one, given) for one in candidates if not reasons[one.name]]
    models = [one for one in tried if isinstance(one, Model)]
    missing += [one for one in tried if isinstance(one, Entry)]
    return chosen_first(models, budget_ms) if models else [], missing


def _tried(bench: Bench, candidate: ImageCandidate, given: _Given) -> Model | Entry:
    """The model, or why there is none: one network without weights must not end the training."""
    try:
        return _run(bench, candidate, given)
    except WeightsMissing as error:
        bench.workshop.tell(f"{candidate.name} is not tried: {error.detail}")
        return Entry(candidate.name, "image", note=error.detail)


def _run(bench: Bench, candidate: ImageCandidate, given: _Given) -> Model:
    fitted = bench.steps.run(
        f"{candidate.name} fit",
        lambda folder: candidate.fit(given.images["fit"], given.labels, folder, bench.workshop),
        key=bench.key | parameters(candidate.settings),
        code=(
            *candidate.code,
            "trainer.candidates.onnx.conversion",
            "trainer.candidates.onnx.graph",
            "shared.inference.preparation.image",
        ),
    )
    predicted = predict(
        bench,
        candidate,
        fitted,
        lambda name: candidate.predict(given.images[name], fitted.folder),
    )
    parts = (Part(candidate, fitted.folder, temperature(bench, given.rows["held"], predicted)),)
    held, test = probabilities(parts[0], predicted, given.rows)
    entry = replace(
        entry_of(bench, candidate.name, "image", given.rows, held, test),
        before_calibration=uncalibrated(bench, given.rows["test"], predicted),
        fit_seconds=fitted.seconds,
        **_image_speed(bench, parts, fitted),
    )
    return Model(parts, held, test, entry, (fitted,))


def _image_speed(bench: Bench, parts: tuple[Part, ...], fitted: Step) -> dict[str, Any]:
    candidate, folder = parts[0].candidate, parts[0].folder

    def measure(into: Path) -> None:
        onnx.save(export_head(parts, bench.workshop.storage), into / "head.onnx")
        backbone = open_session(folder / "backbone.onnx", threads=0)
        head = open_session(into / "head.onnx", threads=0)
        generator = np.random.default_rng(0)
        shape = (candidate.size, candidate.size, 3)
        pixels = [generator.integers(0, 255, shape, np.uint8) for _ in range(TIMED_IMAGES)]

        def call(batch: Sequence[NDArray[np.uint8]]) -> object:
            found = backbone.run(["features"], {IMAGE_INPUT: np.stack(batch)})[0]
            return head.run(None, {"features": found})

        latency, rate = measure_latency(call, pixels, batch=4)
        keep_speed(into, latency, rate, ("head.onnx", folder / "backbone.onnx"))

    return speed(bench, candidate.name, measure, parts, (fitted,))


def readable_rows(bench: Bench, name: str, parts: Sequence[str]) -> pd.DataFrame:
    """Rows of some parts whose images can be decoded whole; which ones is kept."""
    rows = bench.data.part(*parts, image=True)
    step = bench.steps.run(
        f"images {name}",
        lambda folder: np.save(folder / "readable.npy", readable(rows, size=64)),
        key={"data": bench.fingerprint, "parts": list(parts), "rows": len(rows)},
        code=("shared.inference.preparation.image", "trainer.pipeline.row_images"),
    )
    kept: pd.DataFrame = rows[np.load(step.folder / "readable.npy")]
    if len(kept) < len(rows):
        bench.workshop.tell(f"{len(rows) - len(kept)} of {len(rows)} images cannot be read")
    return kept
