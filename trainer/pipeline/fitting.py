"""Steps that all candidates of a modality share: predict, calibrate, measure, choose.

Every figure that decides comes from rows that no model was fitted on; `test` rows only report.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainer.candidates.calibration import fit_temperature, softmax
from trainer.candidates.protocols import ImageCandidate, TextCandidate
from trainer.pipeline.context import TrainingContext, is_official
from trainer.pipeline.latency import measure_latency
from trainer.pipeline.leaderboard import Entry, choose
from trainer.pipeline.steps import Step

Floats = NDArray[np.float32]

#: Parts of a dataset that each stage reads, by their use.
PARTS = {"fit": ("train", "weak"), "held": ("validation", "weak_held"), "test": ("test",)}
#: With fewer officially labelled rows than this, weakly labelled ones help to decide.
ENOUGH_TO_DECIDE = 300
#: With fewer officially labelled rows than this, weakly labelled ones help to calibrate.
ENOUGH_TO_CALIBRATE = 30
LOGITS = "logits.npz"


@dataclass(frozen=True)
class Part:
    """One fitted candidate within a model: `weight · log softmax(logits / temperature)`."""

    candidate: Any
    folder: Path
    temperature: float
    weight: float = 1.0


@dataclass(frozen=True)
class Model:
    """A calibrated model of one modality.

    Attributes:
        parts: Fitted candidates; the softmax of their weighted sum is the model.
        held: Probabilities by row, of rows that no model was fitted on.
        test: Probabilities by row, of the `test` rows.
        entry: Line of the leaderboard.
        steps: Steps that fitted the parts; later steps depend on them.
    """

    parts: tuple[Part, ...]
    held: pd.DataFrame
    test: pd.DataFrame
    entry: Entry
    steps: tuple[Step, ...]


def deciding(rows: pd.DataFrame, enough: int = ENOUGH_TO_DECIDE) -> pd.DataFrame:
    """Return the rows that decide: the officially labelled ones, if there are enough.

    Weakly labelled rows are easier: they have a label only because other systems agree on it.
    """
    official = rows[is_official(rows)]
    return official if len(official) >= enough else rows


def predict(
    context: TrainingContext,
    candidate: TextCandidate | ImageCandidate,
    fitted: Step,
    predicted: Callable[[str], Floats],
) -> Step:
    """Compute the logits of the held-out and the `test` rows, as a step."""

    def keep(folder: Path) -> None:
        np.savez(folder / LOGITS, held=predicted("held"), test=predicted("test"))

    return context.steps.run(
        f"{candidate.name} predict",
        keep,
        key=context.key,
        code=[candidate],
        after=(fitted,),
    )


def temperature(context: TrainingContext, held: pd.DataFrame, predicted: Step) -> float:
    """Fit the temperature of a candidate on rows that it was not fitted on."""
    rows = deciding(held, ENOUGH_TO_CALIBRATE)
    logits = pd.DataFrame(kept_logits(predicted, "held"), index=held.index).loc[rows.index]
    return fit_temperature(logits.to_numpy(np.float32), context.data.targets(rows))


def uncalibrated(
    context: TrainingContext, test: pd.DataFrame, predicted: Step
) -> tuple[float, float] | None:
    """Return calibration error and log loss of the `test` rows without a temperature."""
    if not len(test):
        return None
    raw = pd.DataFrame(softmax(kept_logits(predicted, "test")), index=test.index)
    figures = context.figures(test, raw)
    return figures.calibration_error, figures.log_loss


def kept_logits(predicted: Step, name: str) -> Floats:
    """Read the logits of the `held` or `test` rows, shape `(rows, classes)`."""
    with np.load(predicted.folder / LOGITS) as kept:
        found: Floats = kept[name]
    return found


def probabilities(
    part: Part, predicted: Step, rows: Mapping[str, pd.DataFrame]
) -> list[pd.DataFrame]:
    """Return the calibrated probabilities of the held-out and of the `test` rows."""
    return [
        pd.DataFrame(
            softmax(kept_logits(predicted, name) / part.temperature), index=rows[name].index
        )
        for name in ("held", "test")
    ]


def entry_of(
    context: TrainingContext,
    name: str,
    modality: str,
    rows: Mapping[str, pd.DataFrame],
    held: pd.DataFrame,
    test: pd.DataFrame,
) -> Entry:
    """Return a line of the leaderboard, without speed."""
    figures = context.figures(deciding(rows["held"]), held)
    context.log_line(
        f"{name}: validation F1 {figures.f1_plain:.4f}, log loss {figures.log_loss:.3f}"
    )
    return Entry(
        name,
        modality,
        validation=figures,
        test=context.figures(rows["test"], test) if len(rows["test"]) else None,
    )


def speed(
    context: TrainingContext,
    name: str,
    measure: Callable[[Path], None],
    parts: tuple[Part, ...],
    *,
    exporter: object,
    after: tuple[Step, ...],
) -> dict[str, Any]:
    """Measure latency, throughput and size of an exported model, as a step."""
    step = context.steps.run(
        f"{name} measure",
        measure,
        key=context.key | {"parts": [(part.temperature, part.weight) for part in parts]},
        code=[exporter, measure_latency],
        after=after,
    )
    return dict(json.loads((step.folder / "speed.json").read_text()))


def keep_speed(folder: Path, latency: float, rate: float, files: Sequence[Path]) -> None:
    """Write the measured speed into a folder, with the size of the files of the model."""
    size = sum(file.stat().st_size for file in files)
    found = {"latency_ms": latency, "items_per_second": rate, "size_bytes": size}
    (folder / "speed.json").write_text(json.dumps(found))


def chosen_first(models: list[Model], budget_ms: float) -> list[Model]:
    """Put the model that serves first."""
    chosen = choose([model.entry for model in models], budget_ms=budget_ms)
    # If none is within the budget, the fastest serves: a late answer is better than none.
    best = chosen or min((model.entry for model in models), key=lambda one: one.latency_ms)
    first = next(model for model in models if model.entry is best)
    return [first, *(model for model in models if model is not first)]
