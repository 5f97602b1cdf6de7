"""Fusion stage: cross-validate each fusion on rows that neither modality was fitted on."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.inference.releases.fusion_model import FusionModel
from trainer.candidates.fusion.cross_validation import cross_validated, evidence_of
from trainer.candidates.fusion.pools import Evidence, FusionCandidate, combined
from trainer.pipeline.context import TrainingContext, is_official
from trainer.pipeline.fitting import Model, deciding
from trainer.pipeline.latency import measure_latency
from trainer.pipeline.leaderboard import Entry, choose
from trainer.pipeline.row_images import RowImages
from trainer.pipeline.steps import Step, parameters

Floats = NDArray[np.float32]

#: With fewer products that have both modalities, no fusion can be fitted.
LEAST_ROWS = 20
#: Number of products in the latency measurement.
TIMED = 200
PROBABILITIES, SPEED = "probabilities.npz", "speed.json"


@dataclass(frozen=True)
class Fused:
    """The chosen fusion, and the step that fitted it."""

    name: str
    model: FusionModel
    step: Step


@dataclass(frozen=True)
class _PairedRows:
    """Products with text and image, and both modalities' scores of them.

    Attributes:
        name: `held` or `test`.
        texts: Text models, the one that serves first.
        image: The image model that serves.
    """

    context: TrainingContext
    name: str
    texts: Sequence[Model]
    image: Model

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Rows that both modalities have scored."""
        text: pd.DataFrame = getattr(self.texts[0], self.name)
        image: pd.DataFrame = getattr(self.image, self.name)
        return self.context.data.rows.loc[text.index.intersection(image.index)]

    @cached_property
    def evidence(self) -> Evidence:
        """Evidence of the rows; computed only on demand, for it looks up thousands of images."""
        index = self.rows.index
        part = self.image.parts[0]
        images = RowImages(self.rows, self.context.features, self.context.log_line)
        return evidence_of(
            [getattr(model, self.name).loc[index] for model in self.texts],
            getattr(self.image, self.name).loc[index],
            images.features(
                part.candidate.network, part.folder / "backbone.onnx", part.candidate.size
            ),
            self.context.data.targets(self.rows),
            is_official(self.rows),
        )


def run_fusion_stage(
    context: TrainingContext,
    candidates: Sequence[FusionCandidate],
    texts: Sequence[Model],
    images: Sequence[Model],
) -> tuple[Fused | None, list[Entry]]:
    """Fit every fusion of the chosen text and image models, and choose one that can serve.

    Returns:
        The choice, or `None` if too few products have both modalities; and all entries.
    """
    held, test = (_PairedRows(context, name, texts, images[0]) for name in ("held", "test"))
    if len(held.rows) < LEAST_ROWS:
        context.log_line(f"{len(held.rows)} held-out products have both: no fusion is fitted")
        return None, []
    steps = {candidate.name: _fitted(candidate, held, test) for candidate in candidates}
    entries = [_entry(candidate, steps[candidate.name], held, test) for candidate in candidates]
    chosen = choose(entries, budget_ms=float("inf"))
    if chosen is None:
        return None, entries
    step = steps[chosen.name]
    return Fused(chosen.name, FusionModel.load(step.folder), step), entries


def _fitted(candidate: FusionCandidate, held: _PairedRows, test: _PairedRows) -> Step:
    """Keep a candidate's probabilities, its speed, and its model if it can be served, as a step."""
    context = held.context

    def fit(folder: Path) -> None:
        started = time.perf_counter()
        crossed = cross_validated(candidate, held.evidence, context.settings.seed)
        seconds = time.perf_counter() - started
        model = candidate.fit(held.evidence, context.settings.seed)
        if isinstance(model, FusionModel):
            model.save(folder)
        found = combined(model, test.evidence) if len(test.rows) else crossed[:0]
        np.savez(folder / PROBABILITIES, held=crossed, test=found)
        alone = [held.evidence.take(np.array([row])) for row in range(min(TIMED, len(held.rows)))]
        latency, rate = measure_latency(
            lambda batch: [combined(model, one) for one in batch], alone, batch=TIMED
        )
        speed = {"latency_ms": latency, "items_per_second": rate, "fit_seconds": seconds}
        (folder / SPEED).write_text(json.dumps(speed))

    models = [*held.texts, held.image]
    parts = [[(part.temperature, part.weight) for part in model.parts] for model in models]
    return context.steps.run(
        f"{candidate.name} fit",
        fit,
        key=context.key | {"parts": parts, **parameters(candidate.settings)},
        code=[candidate, cross_validated, RowImages, measure_latency],
        after=[step for model in models for step in model.steps],
    )


def _entry(candidate: FusionCandidate, step: Step, held: _PairedRows, test: _PairedRows) -> Entry:
    context = held.context
    with np.load(step.folder / PROBABILITIES) as kept:
        crossed = pd.DataFrame(kept["held"], index=held.rows.index)
        found = pd.DataFrame(kept["test"], index=test.rows.index)
    figures = context.figures(deciding(held.rows), crossed)
    context.log_line(
        f"{candidate.name}: validation F1 {figures.f1_plain:.4f}, log loss {figures.log_loss:.3f}"
    )
    return Entry(
        candidate.name,
        "fusion",
        validation=figures,
        test=context.figures(test.rows, found) if len(test.rows) else None,
        note=candidate.note,
        **json.loads((step.folder / SPEED).read_text()),
    )
