"""Fits, calibrates and measures all candidates of one modality, and chooses.

Every figure that decides is of rows that no model was fitted on; `test` rows only report.
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
from trainer.candidates.protocols import ImageCandidate, Labels, TextCandidate, Workshop
from trainer.datasets.folder import Dataset
from trainer.pipeline.leaderboard import Entry, choose
from trainer.pipeline.steps import Step, Steps
from trainer.release.evaluation import Figures, figures_of, official_weights

Floats = NDArray[np.float32]

HELD = ("validation", "weak_held")
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
        parts: Their weighted sum, through a softmax, is the model.
        held: Probabilities by row, of rows that no model was fitted on.
        test: The same of the `test` rows.
        step: Result that others stand on.
    """

    parts: tuple[Part, ...]
    held: pd.DataFrame
    test: pd.DataFrame
    entry: Entry
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Bench:
    """What every candidate is run with."""

    data: Dataset
    steps: Steps
    workshop: Workshop
    work: Path
    fingerprint: str
    weak_weight: float

    def labels(self, rows: pd.DataFrame) -> Labels:
        """True categories of rows; weak ones count less."""
        return Labels(
            targets=self.data.targets(rows),
            weights=np.where(is_official(rows), 1.0, self.weak_weight).astype(np.float32),
            classes=len(self.data.categories),
        )

    def figures(self, rows: pd.DataFrame, probabilities: pd.DataFrame) -> Figures:
        """Measure probabilities of rows."""
        weights = official_weights(rows["code"].to_numpy(), self.data.official_share)
        found = probabilities.loc[rows.index].to_numpy(np.float32)
        return figures_of(found, self.data.targets(rows), weights)

    @property
    def key(self) -> dict[str, Any]:
        """What decides every fit of this run."""
        return {
            "data": self.fingerprint,
            "seed": self.workshop.seed,
            "weak_weight": self.weak_weight,
            "storage": self.workshop.storage,
        }


def is_official(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows have an official label, shape `(rows,)`."""
    official: NDArray[np.bool_] = (~rows["part"].isin(["weak", "weak_held"])).to_numpy()
    return official


def deciding(rows: pd.DataFrame, enough: int = ENOUGH_TO_DECIDE) -> pd.DataFrame:
    """The rows that decide: the officially labelled ones, where they are enough.

    Weak rows are easier than real ones: a label exists only where other systems agree.
    """
    official = rows[is_official(rows)]
    return official if len(official) >= enough else rows


def predict(
    bench: Bench,
    candidate: TextCandidate | ImageCandidate,
    fitted: Step,
    predicted: Callable[[str], Floats],
) -> Step:
    """Logits of the held-out and the `test` rows, as a step."""

    def keep(folder: Path) -> None:
        np.savez(folder / LOGITS, held=predicted("held"), test=predicted("test"))

    return bench.steps.run(
        f"{candidate.name} predict",
        keep,
        key=bench.key,
        code=candidate.code,
        after=(fitted,),
    )


def temperature(bench: Bench, held: pd.DataFrame, predicted: Step) -> float:
    """The temperature of a candidate, fitted on rows that it was not."""
    rows = deciding(held, ENOUGH_TO_CALIBRATE)
    logits = pd.DataFrame(kept_logits(predicted, "held"), index=held.index).loc[rows.index]
    return fit_temperature(logits.to_numpy(np.float32), bench.data.targets(rows))


def uncalibrated(bench: Bench, test: pd.DataFrame, predicted: Step) -> tuple[float, float] | None:
    """Expected calibration error and log loss of the `test` rows without a temperature."""
    if not len(test):
        return None
    raw = pd.DataFrame(softmax(kept_logits(predicted, "test")), index=test.index)
    figures = bench.figures(test, raw)
    return figures.calibration_error, figures.log_loss


def kept_logits(predicted: Step, name: str) -> Floats:
    """Logits of `held` or `test` rows, shape `(rows, classes)`."""
    with np.load(predicted.folder / LOGITS) as kept:
        found: Floats = kept[name]
    return found


def probabilities(
    part: Part, predicted: Step, rows: Mapping[str, pd.DataFrame]
) -> list[pd.DataFrame]:
    """Calibrated probabilities of the held-out and of the `test` rows."""
    return [
        pd.DataFrame(
            softmax(kept_logits(predicted, name) / part.temperature), index=rows[name].index
        )
        for name in ("held", "test")
    ]


def entry_of(
    bench: Bench,
    name: str,
    modality: str,
    rows: Mapping[str, pd.DataFrame],
    held: pd.DataFrame,
    test: pd.DataFrame,
) -> Entry:
    """A line of the leaderboard, without speed."""
    figures = bench.figures(deciding(rows["held"]), held)
    bench.workshop.tell(
        f"{name}: validation F1 {figures.f1_plain:.4f}, log loss {figures.log_loss:.3f}"
    )
    return Entry(
        name,
        modality,
        validation=figures,
        test=bench.figures(rows["test"], test) if len(rows["test"]) else None,
    )


def speed(
    bench: Bench,
    name: str,
    measure: Callable[[Path], None],
    parts: tuple[Part, ...],
    after: tuple[Step, ...],
) -> dict[str, Any]:
    """Latency, rate and size of an exported model, as a step."""
    step = bench.steps.run(
        f"{name} measure",
        measure,
        key=bench.key | {"parts": [(part.temperature, part.weight) for part in parts]},
        code=(
            "trainer.pipeline.export",
            "trainer.pipeline.leaderboard",
            "trainer.candidates.onnx.graph",
        ),
        after=after,
    )
    return dict(json.loads((step.folder / "speed.json").read_text()))


def keep_speed(folder: Path, latency: float, rate: float, files: Sequence[str | Path]) -> None:
    """Write what was measured, and the size of the files."""
    size = sum((folder / file).stat().st_size for file in files)
    found = {"latency_ms": latency, "items_per_second": rate, "size_bytes": size}
    (folder / "speed.json").write_text(json.dumps(found))


def chosen_first(models: list[Model], budget_ms: float) -> list[Model]:
    """Put the model that serves first."""
    chosen = choose([model.entry for model in models], budget_ms=budget_ms)
    # Where none is quick enough, the quickest serves: an answer that comes late is still one.
    best = chosen or min((model.entry for model in models), key=lambda one: one.latency_ms)
    first = next(model for model in models if model.entry is best)
    return [first, *(model for model in models if model is not first)]
