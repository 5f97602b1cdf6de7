"""Fusion stage: cross-validate each fusion on rows that neither modality was fitted on.

The text and image scores of these rows come from temperatures and pool weights that were tuned on
other rows, too. A fusion is chosen like any other candidate, with the text model alone as the
simplest; one with a lower F1 than the text model alone is refused.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.inference.releases.fusion_model import FusionModel
from trainer.candidates.fusion.cross_validation import cross_validated, evidence_of
from trainer.candidates.fusion.pools import Evidence, FusionCandidate, TextAlone, combined
from trainer.pipeline.context import TrainingContext, is_official
from trainer.pipeline.fitting import Model, decisive, entry_of, judged
from trainer.pipeline.leaderboard import Contrast, Entry
from trainer.pipeline.row_images import RowImages
from trainer.pipeline.selection import Judged, choose, contrast
from trainer.pipeline.steps import Step, parameters
from trainer.release.response_times import measure_latency

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

    @property
    def out_of_fold(self) -> Floats:
        """Probabilities of the held-out rows that have both, by fits without the row.

        They are from before an adjustment; the shape is `(rows, classes)`.
        """
        found: Floats = _Scores.of(self.step).held[0]
        return found


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
        text, image = self._scores(self.texts[0]), self._scores(self.image)
        return self.context.data.rows.loc[text.index.intersection(image.index)]

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Column numbers of the true categories, shape `(rows,)`."""
        return self.context.data.targets(self.rows)

    @cached_property
    def evidence(self) -> Evidence:
        """Evidence of the rows; computed only on demand, for it looks up thousands of images."""
        index = self.rows.index
        part = self.image.parts[0]
        images = RowImages(self.rows, self.context.features, self.context.log_line)
        return evidence_of(
            [self._scores(model).loc[index] for model in self.texts],
            self._scores(self.image).loc[index],
            images.features(
                part.candidate.network, part.folder / "backbone.onnx", part.candidate.size
            ),
            self.targets,
            is_official(self.rows),
        )

    def _scores(self, model: Model) -> pd.DataFrame:
        return model.out_of_fold if self.name == "held" else model.test


@dataclass(frozen=True)
class _Scores:
    """Probabilities of one fusion: of held-out rows `(repeats, rows, classes)`, and of `test`."""

    held: Floats
    test: Floats

    @classmethod
    def of(cls, step: Step) -> "_Scores":
        with np.load(step.folder / PROBABILITIES) as kept:
            return cls(kept["held"], kept["test"])


def run_fusion_stage(
    context: TrainingContext,
    candidates: Sequence[FusionCandidate],
    texts: Sequence[Model],
    images: Sequence[Model],
) -> tuple[Fused | None, list[Entry]]:
    """Fit every fusion of the chosen text and image models, and choose one that can serve.

    Returns:
        The choice, which is the text model alone if no fusion is better, or `None` if too few
        products have both modalities; and all entries.
    """
    held, test = (_PairedRows(context, name, texts, images[0]) for name in ("held", "test"))
    if len(held.rows) < LEAST_ROWS:
        context.log_line(f"{len(held.rows)} held-out products have both: no fusion is fitted")
        return None, []
    tried = (TextAlone(), *candidates)
    steps = {candidate.name: _fitted(candidate, held, test) for candidate in tried}
    scores = {name: _Scores.of(step) for name, step in steps.items()}
    entries = [_entry(one, steps[one.name], scores[one.name], held, test) for one in tried]
    alone = scores[tried[0].name]
    others = [_compared(one, scores[one.name], alone, held, test) for one in entries[1:]]
    return _chosen([entries[0], *others], steps, scores, held)


def _chosen(
    entries: Sequence[Entry],
    steps: dict[str, Step],
    scores: dict[str, _Scores],
    held: _PairedRows,
) -> tuple[Fused | None, list[Entry]]:
    places = decisive(held.rows)
    targets = held.targets[places]
    scored = [Judged(one, scores[one.name].held[:, places]) for one in entries]
    best = choose(scored, targets, budget_ms=float("inf"))
    if best is None:
        return None, list(entries)
    step = steps[best.entry.name]
    against = [
        one.entry
        if one is best
        else replace(one.entry, against_chosen=contrast(one.scores, best.scores, targets))
        for one in scored
    ]
    return Fused(best.entry.name, FusionModel.load(step.folder), step), against


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
        found = combined(model, test.evidence) if len(test.rows) else crossed[0, :0]
        np.savez(folder / PROBABILITIES, held=crossed, test=found)
        alone = [held.evidence.take(np.array([row])) for row in range(min(TIMED, len(held.rows)))]
        latency, rate = measure_latency(
            lambda batch: [combined(model, one) for one in batch], alone, batch=TIMED
        )
        speed = {"latency_ms": latency, "items_per_second": rate, "fit_seconds": seconds}
        (folder / SPEED).write_text(json.dumps(speed))

    models = [*held.texts, held.image]
    parts = [[part.numbers for part in model.parts] for model in models]
    return context.steps.run(
        f"{candidate.name} fit",
        fit,
        key=context.key | {"parts": parts, **parameters(candidate.settings)},
        code=[candidate, cross_validated, judged, RowImages, measure_latency],
        after=[step for model in models for step in model.steps],
    )


def _entry(
    candidate: FusionCandidate, step: Step, scores: _Scores, held: _PairedRows, test: _PairedRows
) -> Entry:
    entry = entry_of(
        held.context,
        candidate.name,
        "fusion",
        {"held": held.rows, "test": test.rows},
        scores.held,
        pd.DataFrame(scores.test, index=test.rows.index),
    )
    speed = json.loads((step.folder / SPEED).read_text())
    return replace(entry, note=candidate.note, **speed)


def _compared(
    entry: Entry, scores: _Scores, alone: _Scores, held: _PairedRows, test: _PairedRows
) -> Entry:
    """Add the differences to the text model alone, and refuse a fusion with a lower F1."""
    places = decisive(held.rows)
    against = contrast(scores.held[:, places], alone.held[:, places], held.targets[places])
    tested = contrast(scores.test[None], alone.test[None], test.targets) if len(test.rows) else None
    refusal = "" if entry.note else _refusal(against)
    if refusal:
        held.context.log_line(f"{entry.name} is {refusal}")
    return replace(
        entry,
        against_text=against,
        test_against_text=tested,
        note=entry.note or refusal,
    )


def _refusal(against: Contrast) -> str:
    """Return why a fusion must not serve; empty if it may."""
    if against.f1.value >= 0:
        return ""
    return f"refused: F1 below that of text alone, {against.f1.text(signed=True)}"
