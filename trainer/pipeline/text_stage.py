"""The text candidates: each fitted, calibrated and measured; and the pool of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.inference.onnx_session import open_session
from shared.inference.preparation.text import TEXT_PREPARATION, TextInputs, product_text
from trainer.candidates.calibration import fit_weights, logs, softmax
from trainer.candidates.protocols import Labels, TextCandidate
from trainer.pipeline.export import export_text
from trainer.pipeline.fitting import (
    HELD,
    Bench,
    Model,
    Part,
    chosen_first,
    deciding,
    entry_of,
    keep_speed,
    predict,
    probabilities,
    speed,
    temperature,
    uncalibrated,
)
from trainer.pipeline.leaderboard import measure_latency
from trainer.pipeline.steps import Step, parameters

Floats = NDArray[np.float32]

#: Texts of the latency measurement.
TIMED_TEXTS = 128
#: A candidate with less weight than this is left out of the pool.
LEAST_WEIGHT = 0.01
COMBINED = "text_combined"


@dataclass(frozen=True)
class _Texts:
    """Rows and their prepared texts: to fit on, held out, and `test`."""

    rows: dict[str, pd.DataFrame]
    texts: dict[str, list[str]]
    labels: Labels


def run_texts(bench: Bench, candidates: Sequence[TextCandidate], budget_ms: float) -> list[Model]:
    """Fit every text candidate and their combination; the chosen model comes first."""
    rows = {
        name: bench.data.part(*parts, text=True)
        for name, parts in {"fit": ("train", "weak"), "held": HELD, "test": ("test",)}.items()
    }
    if not len(rows["fit"]) or not len(rows["held"]):
        bench.workshop.tell("no texts: this release has no text model")
        return []
    given = _Texts(
        rows,
        {name: prepared_texts(part) for name, part in rows.items()},
        bench.labels(rows["fit"]),
    )
    models = [_run(bench, candidate, given) for candidate in candidates]
    if len(models) > 1:
        models.append(_combination(bench, models, given))
    return chosen_first(models, budget_ms)


def _run(bench: Bench, candidate: TextCandidate, given: _Texts) -> Model:
    code = (*candidate.code, "trainer.candidates.onnx.graph", "shared.inference.preparation.text")
    key = bench.key | {"preparation": TEXT_PREPARATION, **parameters(candidate.settings)}
    fit_texts = given.texts["fit"]
    prepared = bench.steps.run(
        f"{candidate.name} prepare",
        lambda folder: candidate.prepare(fit_texts, folder, bench.workshop),
        key=key,
        code=code,
    )
    fitted = bench.steps.run(
        f"{candidate.name} fit",
        lambda folder: candidate.fit(
            fit_texts, given.labels, folder, prepared.folder, bench.workshop
        ),
        key=key,
        code=code,
        after=(prepared,),
    )
    predicted = predict(
        bench, candidate, fitted, lambda name: candidate.predict(given.texts[name], fitted.folder)
    )
    parts = (Part(candidate, fitted.folder, temperature(bench, given.rows["held"], predicted)),)
    held, test = probabilities(parts[0], predicted, given.rows)
    entry = replace(
        entry_of(bench, candidate.name, "text", given.rows, held, test),
        before_calibration=uncalibrated(bench, given.rows["test"], predicted),
        fit_seconds=fitted.seconds,
        **_text_speed(bench, candidate.name, parts, given.texts["held"], (fitted,)),
    )
    return Model(parts, held, test, entry, (fitted,))


def _combination(bench: Bench, models: Sequence[Model], given: _Texts) -> Model:
    """The log-linear pool of all candidates, weighted on the rows that decide."""
    chosen = deciding(given.rows["held"])
    weights = fit_weights(
        [logs(model.held.loc[chosen.index].to_numpy()).astype(np.float32) for model in models],
        bench.data.targets(chosen),
    )
    pairs = [
        (model, weight)
        for model, weight in zip(models, weights, strict=True)
        if weight > LEAST_WEIGHT
    ]
    parts = tuple(replace(model.parts[0], weight=weight) for model, weight in pairs)
    frames = [
        pd.DataFrame(_pooled(pairs, name), index=given.rows[name].index)
        for name in ("held", "test")
    ]
    steps = tuple(step for model, _ in pairs for step in model.steps)
    bench.workshop.tell(
        f"{COMBINED}: " + ", ".join(f"{model.entry.name} {weight:.2f}" for model, weight in pairs)
    )
    entry = replace(
        entry_of(bench, COMBINED, "text", given.rows, *frames),
        fit_seconds=sum(model.entry.fit_seconds for model, _ in pairs),
        **_text_speed(bench, COMBINED, parts, given.texts["held"], steps),
    )
    return Model(parts, frames[0], frames[1], entry, steps)


def _pooled(pairs: Sequence[tuple[Model, float]], name: str) -> Floats:
    weighted = [weight * logs(getattr(model, name).to_numpy()) for model, weight in pairs]
    pooled: Floats = softmax(np.sum(weighted, axis=0)).astype(np.float32)
    return pooled


def _text_speed(
    bench: Bench, name: str, parts: tuple[Part, ...], texts: list[str], after: tuple[Step, ...]
) -> dict[str, Any]:
    def measure(folder: Path) -> None:
        reads = export_text(parts, folder, bench.workshop.storage)
        session = open_session(folder / "model.onnx", threads=0)
        inputs = TextInputs.load(folder, reads)
        some = texts[:TIMED_TEXTS]
        latency, rate = measure_latency(
            lambda batch: session.run(None, inputs.of(batch)), some, batch=64
        )
        keep_speed(folder, latency, rate, ("model.onnx",))

    return speed(bench, name, measure, parts, after)


def prepared_texts(rows: pd.DataFrame) -> list[str]:
    """The text that models read of each row."""
    pairs = zip(rows["designation"], rows["description"], strict=True)
    return [product_text(title, body) for title, body in pairs]
