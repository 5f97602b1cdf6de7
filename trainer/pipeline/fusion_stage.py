"""The fusion candidates: each cross-validated on rows that neither modality was fitted on."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from shared.inference.releases.fusion_model import FusionModel
from trainer.candidates.calibration import logs
from trainer.candidates.fusion.pools import Evidence, FusionCandidate, combined
from trainer.pipeline.fitting import Bench, Model, deciding, is_official
from trainer.pipeline.leaderboard import Entry, choose, measure_latency
from trainer.pipeline.row_images import RowImages
from trainer.pipeline.steps import Step, parameters

Floats = NDArray[np.float32]

FOLDS = 5
#: With fewer products that have both, no fusion can be fitted.
LEAST_ROWS = 20
#: Products of the latency measurement.
TIMED = 200
PROBABILITIES, SPEED = "probabilities.npz", "speed.json"
#: Modules that decide what a fusion becomes, beside its own.
CODE = (
    "shared.inference.releases.fusion_model",
    "trainer.candidates.calibration",
    "trainer.pipeline.fusion_stage",
    "trainer.pipeline.fitting",
    "trainer.candidates.fusion.pools",
)


@dataclass(frozen=True)
class Fused:
    """The chosen fusion, and the step that keeps it."""

    name: str
    model: FusionModel
    step: Step


@dataclass(frozen=True)
class _Given:
    """Products with text and image, and what both modalities say of them; `held` or `test`."""

    bench: Bench
    name: str
    texts: Sequence[Model]
    image: Model

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The products."""
        text: pd.DataFrame = getattr(self.texts[0], self.name)
        image: pd.DataFrame = getattr(self.image, self.name)
        return self.bench.data.rows.loc[text.index.intersection(image.index)]

    @cached_property
    def evidence(self) -> Evidence:
        """Read only by who computes: thousands of images are looked up for it."""
        index = self.rows.index
        every = [logs(getattr(model, self.name).loc[index].to_numpy()) for model in self.texts]
        part = self.image.parts[0]
        images = RowImages(self.rows, self.bench.work / "features", self.bench.workshop.tell)
        features = images.features(
            part.candidate.network, part.folder / "backbone.onnx", part.candidate.size
        )
        return Evidence(
            text=getattr(self.texts[0], self.name).loc[index].to_numpy(np.float32),
            image=getattr(self.image, self.name).loc[index].to_numpy(np.float32),
            text_features=np.concatenate(every, axis=1).astype(np.float32),
            image_features=features.astype(np.float32),
            targets=self.bench.data.targets(self.rows),
            is_official=is_official(self.rows),
        )


def run_fusion(
    bench: Bench,
    candidates: Sequence[FusionCandidate],
    texts: Sequence[Model],
    images: Sequence[Model],
) -> tuple[Fused | None, list[Entry]]:
    """Fit every fusion of the chosen text and image models, and choose one that can be served.

    Returns:
        The choice, or `None` where too few products have both; and all entries.
    """
    held, test = (_Given(bench, name, texts, images[0]) for name in ("held", "test"))
    if len(held.rows) < LEAST_ROWS:
        bench.workshop.tell(f"{len(held.rows)} held-out products have both: no fusion is fitted")
        return None, []
    steps = {candidate.name: _fitted(candidate, held, test) for candidate in candidates}
    entries = [_entry(candidate, steps[candidate.name], held, test) for candidate in candidates]
    chosen = choose(entries, budget_ms=float("inf"))
    if chosen is None:
        return None, entries
    step = steps[chosen.name]
    return Fused(chosen.name, FusionModel.load(step.folder), step), entries


def _fitted(candidate: FusionCandidate, held: _Given, test: _Given) -> Step:
    """What a candidate says of all rows, how fast, and the model where it can be served."""
    bench = held.bench

    def fit(folder: Path) -> None:
        started = time.perf_counter()
        crossed = _cross_validated(candidate, held.evidence, bench.workshop.seed)
        seconds = time.perf_counter() - started
        model = candidate.fit(held.evidence, bench.workshop.seed)
        if isinstance(model, FusionModel):
            model.save(folder)
        found = combined(model, test.evidence) if len(test.rows) else crossed[:0]
        np.savez(folder / PROBABILITIES, held=crossed, test=found)
        alone = [held.evidence.take(np.array([row])) for row in range(min(TIMED, len(held.rows)))]
        latency, rate = measure_latency(
            lambda some: [combined(model, one) for one in some], alone, batch=TIMED
        )
        speed = {"latency_ms": latency, "items_per_second": rate, "fit_seconds": seconds}
        (folder / SPEED).write_text(json.dumps(speed))

    models = [*held.texts, held.image]
    parts = [[(part.temperature, part.weight) for part in model.parts] for model in models]
    return bench.steps.run(
        f"{candidate.name} fit",
        fit,
        key=bench.key | {"parts": parts, **parameters(candidate.settings)},
        code=(type(candidate).__module__, *CODE),
        after=[step for model in models for step in model.steps],
    )


def _entry(candidate: FusionCandidate, step: Step, held: _Given, test: _Given) -> Entry:
    bench = held.bench
    with np.load(step.folder / PROBABILITIES) as kept:
        crossed = pd.DataFrame(kept["held"], index=held.rows.index)
        found = pd.DataFrame(kept["test"], index=test.rows.index)
    figures = bench.figures(deciding(held.rows), crossed)
    bench.workshop.tell(
        f"{candidate.name}: validation F1 {figures.f1_plain:.4f}, log loss {figures.log_loss:.3f}"
    )
    return Entry(
        candidate.name,
        "fusion",
        validation=figures,
        test=bench.figures(test.rows, found) if len(test.rows) else None,
        note=candidate.note,
        **json.loads((step.folder / SPEED).read_text()),
    )


def _cross_validated(candidate: FusionCandidate, evidence: Evidence, seed: int) -> Floats:
    """Probabilities of every row by a fit that has not seen it, shape `(rows, classes)`."""
    found = np.zeros_like(evidence.text)
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    for fit_on, others in folds.split(evidence.targets):
        model = candidate.fit(evidence.take(fit_on), seed)
        found[others] = combined(model, evidence.take(others))
    return found
