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
from trainer.candidates.calibration import logs
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
from trainer.pipeline.leaderboard import Entry
from trainer.pipeline.selection import CASCADE, losses
from trainer.pipeline.steps import Step, parameters
from trainer.pipeline.text.pools import (
    ALONE_AT,
    PoolRule,
    cascaded,
    plain_weight,
    pool_probabilities,
    probabilities_of,
)
from trainer.release.response_times import measure_latency

Floats = NDArray[np.float32]

#: Number of texts in the latency measurement.
TIMED_TEXTS = 128
COMBINED, COMBINED_BY_CATEGORY = "text_combined", "text_combined_by_category"
#: A pool becomes a cascade if its cheapest model takes at most this share of its time.
CHEAP_SHARE = 0.1
#: Ending of the names of combinations that include students.
TAUGHT = "_taught"
#: Most `rows * categories * models` with which weights by category are fitted within seconds.
LARGEST_BY_CATEGORY = 5_000_000
SOFT = "soft.npy"


@dataclass(frozen=True)
class _TextRows:
    """Rows and their prepared texts, by use: `fit`, `held`, `test`."""

    rows: dict[str, pd.DataFrame]
    texts: dict[str, list[str]]
    labels: Labels


def run_text_stage(
    context: TrainingContext,
    candidates: Sequence[TextCandidate],
    students: Sequence[TextCandidate] = (),
) -> tuple[list[Model], list[Entry]]:
    """Fit every text candidate and their combinations; the chosen model comes first.

    Args:
        context: Context of the run.
        candidates: Candidates that learn from labels.
        students: Candidates that learn from the answers of the best of the others as well, if one
            of these is a teacher (`trainer.candidates.registry`).

    Returns:
        The models, and entries of candidates that could not be tried.
    """
    rows = {name: context.data.part(*parts, text=True) for name, parts in PARTS.items()}
    if not len(rows["fit"]) or not len(rows["held"]):
        context.log_line("no texts: this release has no text model")
        return [], []
    products = _TextRows(
        rows,
        {name: prepared_texts(part) for name, part in rows.items()},
        context.labels(rows["fit"]),
    )
    reasons = {one.name: one.unavailable_reason(context.fit) for one in candidates}
    untried = [Entry(name, "text", note=why) for name, why in reasons.items() if why]
    for entry in untried:
        context.log_line(f"{entry.name} is skipped: {entry.note}")
    models = [_run(context, one, products) for one in candidates if not reasons[one.name]]
    models += _combinations(context, models, products)
    if students and any(part.candidate.is_teacher for one in models for part in one.parts):
        taught = replace(products, labels=_soft(context, _best(context, models, rows), products))
        pupils = [_run(context, one, taught) for one in students]
        singles = [one for one in models if one.entry.name == one.parts[0].candidate.name]
        pools = _combinations(context, [*singles, *pupils], products, TAUGHT)
        names = {one.entry.name for one in pupils}
        # Without a weight for a student, a pool is that of the plain models.
        with_student = [one for one in pools if names & {part.candidate.name for part in one.parts}]
        models += pupils + with_student
    return chosen_first(context, models, rows["held"], context.settings.budget.text_ms), untried


def _run(context: TrainingContext, candidate: TextCandidate, products: _TextRows) -> Model:
    fitted = fit_text(context, candidate, products.texts["fit"], products.labels)
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


def fit_text(
    context: TrainingContext,
    candidate: TextCandidate,
    texts: list[str],
    labels: Labels,
    which: str = "",
) -> Step:
    """Fit a candidate on prepared texts, as two steps; `which` names them apart from others."""
    # Not every candidate imports the preparation of the texts that it is given.
    code = [candidate, product_text]
    key = context.key | {
        "preparation": TEXT_PREPARATION,
        "pretrained": candidate.pretrained(context.fit),
        "labels": labels.digest,
        **parameters(candidate.settings),
    }
    prepared = context.steps.run(
        f"{candidate.name} {which}prepare",
        lambda folder: candidate.prepare(texts, folder, context.fit),
        key=key,
        code=code,
    )
    return context.steps.run(
        f"{candidate.name} {which}fit",
        lambda folder: candidate.fit(texts, labels, folder, prepared.folder, context.fit),
        key=key,
        code=code,
        after=(prepared,),
    )


def _best(
    context: TrainingContext, models: Sequence[Model], rows: dict[str, pd.DataFrame]
) -> Model:
    """Return the model with the least log loss on the rows that decide."""
    held = rows["held"]
    places, targets = decisive(held), context.data.targets(held)
    return min(models, key=lambda one: losses(one.judged[:, places], targets[places]).mean().item())


def _soft(context: TrainingContext, teacher: Model, products: _TextRows) -> Labels:
    """Return the labels of the rows to fit on, with the teacher's probabilities."""
    texts = products.texts["fit"]
    context.log_line(f"teacher: {teacher.entry.name}")

    def keep(folder: Path) -> None:
        np.save(folder / SOFT, probabilities_of(teacher.parts, texts).astype(np.float16))

    step = context.steps.run(
        "text teacher",
        keep,
        key=context.key | {"parts": [part.numbers for part in teacher.parts]},
        code=[probabilities_of, *(part.candidate for part in teacher.parts)],
        after=teacher.steps,
    )
    return replace(products.labels, soft=np.load(step.folder / SOFT).astype(np.float32))


def _combinations(
    context: TrainingContext, models: Sequence[Model], products: _TextRows, suffix: str = ""
) -> list[Model]:
    """Return log-linear pools of models: with a weight for each, and with one by category."""
    if len(models) < 2:
        return []
    held = products.rows["held"]
    chosen = decisive(held)
    rule = PoolRule(context.data.targets(held), is_official(held), chosen, context.settings.seed)
    found = [_combination(context, models, products, rule, f"{COMBINED}{suffix}")]
    if len(chosen) * len(context.data.categories.categories) * len(models) <= LARGEST_BY_CATEGORY:
        by_category = replace(rule, is_by_category=True)
        name = f"{COMBINED_BY_CATEGORY}{suffix}"
        found.append(_combination(context, models, products, by_category, name))
    return [*found, *(one for pool in found if (one := _cascade(context, pool, models, products)))]


def _cascade(
    context: TrainingContext, pool: Model, models: Sequence[Model], products: _TextRows
) -> Model | None:
    """Return a pool that is asked only where its cheapest model is unsure; `None` if none is cheap.

    The idea is that of Viola and Jones, "Robust Real-Time Face Detection" (2004), section 4.
    """
    used = [part.candidate.name for part in pool.parts]
    first = min(
        (one for one in models if one.entry.name in used), key=lambda one: one.entry.latency_ms
    )
    if len(used) < 2 or first.entry.latency_ms > CHEAP_SHARE * pool.entry.latency_ms:
        return None
    parts = tuple(
        replace(part, alone_at=ALONE_AT) if part.candidate.name == first.entry.name else part
        for part in pool.parts
    )
    held, test = (
        pd.DataFrame(cascaded(alone.to_numpy(), pooled.to_numpy()), index=pooled.index)
        for alone, pooled in ((first.held, pool.held), (first.test, pool.test))
    )
    scores = cascaded(first.judged, pool.judged)
    name = f"{pool.entry.name}{CASCADE}"
    is_alone = first.held.to_numpy().max(axis=1) >= ALONE_AT
    context.log_line(f"{name}: {first.entry.name} alone answers {is_alone.mean():.0%}")
    entry = replace(
        entry_of(context, name, "text", products.rows, scores, test),
        fit_seconds=pool.entry.fit_seconds,
        **_text_speed(context, name, parts, products.texts["held"], pool.steps),
    )
    return Model(parts, held, scores, test, entry, pool.steps)


def _combination(
    context: TrainingContext,
    models: Sequence[Model],
    products: _TextRows,
    rule: PoolRule,
    name: str,
) -> Model:
    inputs = {
        part: np.stack([logs(getattr(model, part).to_numpy()) for model in models])
        for part in ("held", "test")
    }
    held = inputs["held"].astype(np.float32)
    weights, bias = rule.fit(held, np.arange(held.shape[1]))
    used = [place for place, one in enumerate(weights) if one.any()]
    parts = [replace(models[place].parts[0], weight=plain_weight(weights[place])) for place in used]
    if bias.any():
        parts[0] = replace(parts[0], bias=tuple(bias.tolist()))
    frames = {
        part: pd.DataFrame(
            pool_probabilities(found, weights, bias), index=products.rows[part].index
        )
        for part, found in inputs.items()
    }
    scores = rule.judged(held)
    steps = tuple(step for place in used for step in models[place].steps)
    shares = ", ".join(f"{models[at].entry.name} {weights[at].mean():.2f}" for at in used)
    context.log_line(f"{name}: {shares}")
    entry = replace(
        entry_of(context, name, "text", products.rows, scores, frames["test"]),
        fit_seconds=sum(models[place].entry.fit_seconds for place in used),
        **_text_speed(context, name, tuple(parts), products.texts["held"], steps),
    )
    return Model(tuple(parts), frames["held"], scores, frames["test"], entry, steps)


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
