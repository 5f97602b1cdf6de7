"""Text stage: fit, calibrate and measure each text candidate and the pool of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.inference.onnx_session import open_session
from shared.inference.preparation.text import TEXT_PREPARATION, TextInputs, product_text
from trainer.candidates.calibration import Doubles, fit_weights, logs, softmax
from trainer.candidates.folds import out_of_fold, strata_of
from trainer.candidates.protocols import Labels, TextCandidate
from trainer.pipeline.context import TrainingContext, is_official
from trainer.pipeline.export import export_text
from trainer.pipeline.fitting import (
    PARTS,
    Model,
    Part,
    chosen_first,
    decisive,
    entry_of,
    judged,
    keep_speed,
    predict,
    probabilities,
    speed,
    temperature,
    uncalibrated,
)
from trainer.pipeline.latency import measure_latency
from trainer.pipeline.steps import Step, parameters

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

#: Number of texts in the latency measurement.
TIMED_TEXTS = 128
#: A candidate with less weight than this is left out of the pool.
LEAST_WEIGHT = 0.01
COMBINED = "text_combined"


@dataclass(frozen=True)
class _TextRows:
    """Rows and their prepared texts, by use: `fit`, `held`, `test`."""

    rows: dict[str, pd.DataFrame]
    texts: dict[str, list[str]]
    labels: Labels


def run_text_stage(context: TrainingContext, candidates: Sequence[TextCandidate]) -> list[Model]:
    """Fit every text candidate and their combination; the chosen model comes first."""
    rows = {name: context.data.part(*parts, text=True) for name, parts in PARTS.items()}
    if not len(rows["fit"]) or not len(rows["held"]):
        context.log_line("no texts: this release has no text model")
        return []
    products = _TextRows(
        rows,
        {name: prepared_texts(part) for name, part in rows.items()},
        context.labels(rows["fit"]),
    )
    models = [_run(context, candidate, products) for candidate in candidates]
    if len(models) > 1:
        models.append(_combination(context, models, products))
    return chosen_first(context, models, rows["held"], context.settings.budget.text_ms)


def _run(context: TrainingContext, candidate: TextCandidate, products: _TextRows) -> Model:
    fitted = _fitted(context, candidate, products)
    predicted = predict(
        context,
        candidate,
        fitted,
        lambda name: candidate.predict(products.texts[name], fitted.folder),
    )
    found = temperature(context, products.rows["held"], predicted)
    parts = (Part(candidate, fitted.folder, found),)
    held, test = probabilities(parts[0], predicted, products.rows)
    scores = judged(context, products.rows["held"], predicted)
    entry = replace(
        entry_of(context, candidate.name, "text", products.rows, scores, test),
        before_calibration=uncalibrated(context, products.rows["test"], predicted),
        fit_seconds=fitted.seconds,
        **_text_speed(context, candidate.name, parts, products.texts["held"], (fitted,)),
    )
    return Model(parts, held, scores, test, entry, (fitted,))


def _fitted(context: TrainingContext, candidate: TextCandidate, products: _TextRows) -> Step:
    # Not every candidate imports the preparation of the texts that it is products.
    code = [candidate, product_text]
    key = context.key | {
        "preparation": TEXT_PREPARATION,
        "labels": products.labels.digest,
        **parameters(candidate.settings),
    }
    texts = products.texts["fit"]
    prepared = context.steps.run(
        f"{candidate.name} prepare",
        lambda folder: candidate.prepare(texts, folder, context.fit),
        key=key,
        code=code,
    )
    return context.steps.run(
        f"{candidate.name} fit",
        lambda folder: candidate.fit(texts, products.labels, folder, prepared.folder, context.fit),
        key=key,
        code=code,
        after=(prepared,),
    )


def _combination(context: TrainingContext, models: Sequence[Model], products: _TextRows) -> Model:
    """Return the log-linear pool of all candidates, weighted on the rows that decide."""
    held = products.rows["held"]
    targets, chosen = context.data.targets(held), decisive(held)
    inputs = [logs(model.held.to_numpy()).astype(np.float32) for model in models]
    weights = _weights(inputs, targets, chosen)
    pairs = [(model, weight) for model, weight in zip(models, weights, strict=True) if weight]
    parts = tuple(replace(model.parts[0], weight=weight) for model, weight in pairs)
    frames = {
        name: pd.DataFrame(
            _pooled([logs(getattr(model, name).to_numpy()) for model in models], weights),
            index=products.rows[name].index,
        )
        for name in ("held", "test")
    }

    def score(fit_on: Places, others: Places) -> Floats:
        # Temperatures need no other fold: in a log-linear pool they only scale the weights.
        found = _weights(inputs, targets, np.intersect1d(fit_on, chosen))
        return _pooled([one[others] for one in inputs], found)

    scores = out_of_fold(strata_of(targets, is_official(held)), score, context.settings.seed)
    steps = tuple(step for model, _ in pairs for step in model.steps)
    context.log_line(
        f"{COMBINED}: " + ", ".join(f"{model.entry.name} {weight:.2f}" for model, weight in pairs)
    )
    entry = replace(
        entry_of(context, COMBINED, "text", products.rows, scores, frames["test"]),
        fit_seconds=sum(model.entry.fit_seconds for model, _ in pairs),
        **_text_speed(context, COMBINED, parts, products.texts["held"], steps),
    )
    return Model(parts, frames["held"], scores, frames["test"], entry, steps)


def _weights(inputs: Sequence[Floats], targets: Places, chosen: Places) -> list[float]:
    """Fit a weight for each model on some rows; a model that hardly helps gets none."""
    weights = fit_weights([one[chosen] for one in inputs], targets[chosen])
    return [weight if weight > LEAST_WEIGHT else 0.0 for weight in weights]


def _pooled(inputs: Sequence[Floats | Doubles], weights: Sequence[float]) -> Floats:
    weighted = [weight * one for weight, one in zip(weights, inputs, strict=True)]
    pooled: Floats = softmax(np.sum(weighted, axis=0)).astype(np.float32)
    return pooled


def _text_speed(
    context: TrainingContext,
    name: str,
    parts: tuple[Part, ...],
    texts: list[str],
    after: tuple[Step, ...],
) -> dict[str, Any]:
    def measure(folder: Path) -> None:
        reads = export_text(parts, folder, context.settings.storage)
        session = open_session(folder / "model.onnx", threads=0)
        inputs = TextInputs.load(folder, reads)
        timed = texts[:TIMED_TEXTS]
        latency, rate = measure_latency(
            lambda batch: session.run(None, inputs.of(batch)), timed, batch=64
        )
        keep_speed(folder, latency, rate, (folder / "model.onnx",))

    return speed(context, name, measure, parts, exporter=export_text, after=after)


def prepared_texts(rows: pd.DataFrame) -> list[str]:
    """Return the text that models read of each row."""
    pairs = zip(rows["designation"], rows["description"], strict=True)
    return [product_text(title, body) for title, body in pairs]
