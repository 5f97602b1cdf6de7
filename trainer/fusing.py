"""The fusion candidates: each cross-validated on rows that neither modality was fitted on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from shared.inference.fusion import FusionModel
from trainer.calibration import logs
from trainer.leaderboard import Entry, choose, measure_latency
from trainer.modality import Bench, Model, deciding, is_official
from trainer.models.fusion import Combine, Evidence, FusionCandidate, combined
from trainer.row_pictures import RowPictures

Floats = NDArray[np.float32]

FOLDS = 5
#: With fewer products that have both, no fusion can be fitted.
LEAST_ROWS = 20
#: Products of the latency measurement.
TIMED = 200


@dataclass(frozen=True)
class Fused:
    """The chosen fusion."""

    name: str
    model: FusionModel


@dataclass(frozen=True)
class _Rows:
    """Products with text and picture, and what both modalities say of them."""

    rows: pd.DataFrame
    evidence: Evidence


def run_fusion(
    bench: Bench,
    candidates: Sequence[FusionCandidate],
    texts: Sequence[Model],
    images: Sequence[Model],
) -> tuple[Fused | None, list[Entry]]:
    """Fit every fusion of the chosen text and picture models, and choose one that can be served.

    Returns:
        The choice, or `None` where too few products have both; and all entries.
    """
    held = _rows(bench, "held", texts, images)
    test = _rows(bench, "test", texts, images)
    if len(held.rows) < LEAST_ROWS:
        bench.workshop.tell(f"{len(held.rows)} held-out products have both: no fusion is fitted")
        return None, []
    entries, fitted = [], {}
    for candidate in candidates:
        model = candidate.fit(held.evidence, bench.workshop.seed)
        entry = _entry(bench, candidate, model, held, test)
        entries.append(entry)
        if isinstance(model, FusionModel):
            fitted[candidate.name] = Fused(candidate.name, model)
    chosen = choose(entries, budget_ms=float("inf"))
    return (fitted[chosen.name] if chosen else None), entries


def _rows(bench: Bench, name: str, texts: Sequence[Model], images: Sequence[Model]) -> _Rows:
    text: pd.DataFrame = getattr(texts[0], name)
    image: pd.DataFrame = getattr(images[0], name)
    index = text.index.intersection(image.index)
    rows = bench.data.rows.loc[index]
    every = [logs(getattr(model, name).loc[index].to_numpy()) for model in texts]
    part = images[0].parts[0]
    pictures = RowPictures(rows, bench.work / "features", bench.workshop.tell)
    features = pictures.features(
        part.candidate.name, part.folder / "backbone.onnx", part.candidate.size
    )
    evidence = Evidence(
        text=text.loc[index].to_numpy(np.float32),
        image=image.loc[index].to_numpy(np.float32),
        text_features=np.concatenate(every, axis=1).astype(np.float32),
        image_features=features,
        targets=bench.data.targets(rows),
        is_official=is_official(rows),
    )
    return _Rows(rows, evidence)


def _entry(
    bench: Bench, candidate: FusionCandidate, model: FusionModel | Combine, held: _Rows, test: _Rows
) -> Entry:
    started = time.perf_counter()
    crossed = pd.DataFrame(
        _cross_validated(candidate, held.evidence, bench.workshop.seed), index=held.rows.index
    )
    seconds = time.perf_counter() - started
    figures = bench.figures(deciding(held.rows), crossed)
    bench.workshop.tell(
        f"{candidate.name}: validation F1 {figures.f1_plain:.4f}, log loss {figures.log_loss:.3f}"
    )
    on_test = None
    if len(test.rows):
        found = pd.DataFrame(combined(model, test.evidence), index=test.rows.index)
        on_test = bench.figures(test.rows, found)
    alone = [held.evidence.take(np.array([row])) for row in range(min(TIMED, len(held.rows)))]
    latency, rate = measure_latency(
        lambda some: [combined(model, one) for one in some], alone, batch=TIMED
    )
    return Entry(
        candidate.name,
        "fusion",
        validation=figures,
        test=on_test,
        latency_ms=latency,
        items_per_second=rate,
        fit_seconds=seconds,
        note=candidate.note,
    )


def _cross_validated(candidate: FusionCandidate, evidence: Evidence, seed: int) -> Floats:
    """Probabilities of every row by a fit that has not seen it, shape `(rows, classes)`."""
    found = np.zeros_like(evidence.text)
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    for fit_on, others in folds.split(evidence.targets):
        model = candidate.fit(evidence.take(fit_on), seed)
        found[others] = combined(model, evidence.take(others))
    return found
