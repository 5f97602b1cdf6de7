"""Steps that all candidates of a modality share: predict, calibrate, measure, choose.

Every figure that decides comes from rows that no model was fitted on, by temperatures and weights
that were tuned on other rows (`trainer.candidates.folds`); `test` rows only report.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainer.candidates.calibration import fit_temperature, softmax
from trainer.candidates.folds import out_of_fold, strata_of
from trainer.candidates.protocols import ImageCandidate, TextCandidate
from trainer.pipeline.context import TrainingContext, is_official
from trainer.pipeline.leaderboard import Entry
from trainer.pipeline.selection import Judged, choose, contrast, mean_figures
from trainer.pipeline.steps import Step
from trainer.release.intervals import f1_interval
from trainer.release.response_times import measure_latency

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
    """One fitted candidate within a model: `weight · log softmax(logits / temperature) + bias`.

    Attributes:
        weight: One number, or one for each category.
        bias: One number for each category, or none.
        alone_at: Confidence from which the part answers alone, and the others are not asked; 0 if
            they always are. At most one part of a model has it.
        ratios: Ratios by which the model's probabilities are multiplied in the end, one for each
            category, or none. At most one part of a model has them.
    """

    candidate: Any
    folder: Path
    temperature: float = 1.0
    weight: float | tuple[float, ...] = 1.0
    bias: tuple[float, ...] = ()
    alone_at: float = 0.0
    ratios: tuple[float, ...] = ()

    @property
    def numbers(self) -> tuple[object, ...]:
        """Numbers that decide what the part answers, for the keys of steps."""
        return self.temperature, self.weight, self.bias, self.alone_at, self.ratios


@dataclass(frozen=True)
class Model:
    """A calibrated model of one modality.

    Attributes:
        parts: Fitted candidates; the softmax of their weighted sum is the model.
        held: Probabilities by row, of rows that no model was fitted on.
        judged: Probabilities of the same rows, each by temperatures and weights that were tuned
            without it, shape `(repeats, held rows, classes)`.
        test: Probabilities by row, of the `test` rows.
        entry: Line of the leaderboard.
        steps: Steps that fitted the parts; later steps depend on them.
    """

    parts: tuple[Part, ...]
    held: pd.DataFrame
    judged: Floats
    test: pd.DataFrame
    entry: Entry
    steps: tuple[Step, ...]

    @property
    def out_of_fold(self) -> pd.DataFrame:
        """Probabilities by held-out row of the first repeat of `judged`."""
        return pd.DataFrame(self.judged[0], index=self.held.index)


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


def judged(context: TrainingContext, held: pd.DataFrame, predicted: Step) -> Floats:
    """Return probabilities by temperatures that were fitted without the row.

    The shape is `(repeats, held rows, classes)`.
    """
    logits, targets = kept_logits(predicted, "held"), context.data.targets(held)
    calibrates = held.index.isin(deciding(held, ENOUGH_TO_CALIBRATE).index)

    def score(fit_on: NDArray[np.int64], others: NDArray[np.int64]) -> Floats:
        chosen = fit_on[calibrates[fit_on]]
        divisor = fit_temperature(logits[chosen], targets[chosen]) if len(chosen) else 1.0
        return softmax(logits[others] / np.float32(divisor))

    return out_of_fold(strata_of(targets, is_official(held)), score, context.settings.seed)


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
    scores: Floats,
    test: pd.DataFrame,
) -> Entry:
    """Return a line of the leaderboard, without speed.

    Args:
        context: Context of the run.
        name: Name of the candidate.
        modality: `text`, `image` or `fusion`.
        rows: Rows by use, `held` and `test`.
        scores: Probabilities of the held-out rows by fits without the row, shape
            `(repeats, held rows, classes)`.
        test: Probabilities by row, of the `test` rows.
    """
    places = decisive(rows["held"])
    held = rows["held"].iloc[places]
    repeats = [pd.DataFrame(one, index=held.index) for one in scores[:, places]]
    figures = mean_figures([context.figures(held, one) for one in repeats])
    answers = scores[:, places].argmax(axis=2)
    validation = f1_interval(context.data.targets(held), answers)
    context.log_line(f"{name}: validation F1 {validation.text()}, log loss {figures.log_loss:.3f}")
    entry = Entry(name, modality, validation=figures, validation_f1=validation)
    if not len(rows["test"]):
        return entry
    tested = test.loc[rows["test"].index].to_numpy().argmax(axis=1)
    return replace(
        entry,
        test=context.figures(rows["test"], test),
        test_f1=f1_interval(context.data.targets(rows["test"]), tested[None]),
    )


def decisive(held: pd.DataFrame) -> NDArray[np.int64]:
    """Return the positions of the rows that decide."""
    return np.flatnonzero(held.index.isin(deciding(held).index))


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
        key=context.key | {"parts": [part.numbers for part in parts]},
        code=[exporter, measure_latency],
        after=after,
    )
    return dict(json.loads((step.folder / "speed.json").read_text()))


def keep_speed(folder: Path, latency: float, rate: float, files: Sequence[Path]) -> None:
    """Write the measured speed into a folder, with the size of the files of the model."""
    size = sum(file.stat().st_size for file in files)
    found = {"latency_ms": latency, "items_per_second": rate, "size_bytes": size}
    (folder / "speed.json").write_text(json.dumps(found))


def chosen_first(
    context: TrainingContext, models: Sequence[Model], held: pd.DataFrame, budget_ms: float
) -> list[Model]:
    """Put the model that serves first, and state how the others differ from it.

    Args:
        context: Context of the run.
        models: Models of one modality, in the order of the line-up.
        held: Their held-out rows.
        budget_ms: Longest median latency of a product, in milliseconds.
    """
    places = decisive(held)
    targets = context.data.targets(held.iloc[places])
    scored = [Judged(model.entry, model.judged[:, places]) for model in models]
    chosen = choose(scored, targets, budget_ms=budget_ms)
    # If none is within the budget, the fastest serves: a late answer is better than none.
    best = chosen or min(scored, key=lambda one: one.entry.latency_ms)
    found: list[Model] = []
    for model, one in zip(models, scored, strict=True):
        if one is best:
            found.insert(0, model)
            continue
        against = contrast(one.scores, best.scores, targets)
        found.append(replace(model, entry=replace(model.entry, against_chosen=against)))
    return found
