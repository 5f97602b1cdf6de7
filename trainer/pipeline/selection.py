"""The choice among the candidates of one modality: the simplest of those that are equally good.

Candidates are compared on the rows that decide, by scores from fits that did not see the row
(`trainer.candidates.folds`), and pairwise on the same rows, so that luck with the rows does not
choose: of two candidates whose difference is not beyond chance, the cheaper one serves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.pipeline.leaderboard import Contrast, Entry
from trainer.release.evaluation import Figures
from trainer.release.intervals import f1_difference, mean_interval

Floats = NDArray[np.float32]
Targets = NDArray[np.int64]

#: Latencies that differ by less than this are equal: such differences are those of the machine.
EQUAL_MS = 0.1
#: Ending of the name of a cascade, after that of its pool.
CASCADE = "_cascade"
#: Largest rise of the log loss, in nats, at which a cascade serves instead of its pool.
LARGEST_RISE = 0.03
#: Floor of probabilities in a log loss.
SMALLEST = 1e-12


@dataclass(frozen=True)
class Judged:
    """An entry with what it is chosen by.

    Attributes:
        entry: The entry, with its latency.
        scores: Probabilities of the rows that decide, shape `(repeats, rows, classes)`, each by a
            fit that did not see the row.
    """

    entry: Entry
    scores: Floats


def choose(judged: Sequence[Judged], targets: Targets, *, budget_ms: float) -> Judged | None:
    """Return the cheapest within the latency budget that is not worse than the best beyond chance.

    The best has the least log loss. Log loss is compared rather than F1 alone: it accounts for the
    confidence in every row and so separates models that F1 on a thousand rows cannot, and fusion
    depends on that confidence. One that is worse in either is no equal. Of equally fast ones the
    earlier is chosen: line-ups begin with the simplest. A pool leaves the place to its cascade.

    Args:
        judged: Candidates in the order of the line-up.
        targets: Column numbers of the true categories, shape `(rows,)`.
        budget_ms: Longest median latency of a product, in milliseconds.
    """
    within = [one for one in judged if one.entry.is_servable and one.entry.latency_ms <= budget_ms]
    if not within:
        return None
    best = min(within, key=lambda one: float(losses(one.scores, targets).mean()))
    equal = [
        one
        for one in within
        if one is best or not contrast(one.scores, best.scores, targets).is_worse
    ]
    chosen = min(equal, key=lambda one: round(one.entry.latency_ms / EQUAL_MS))
    return _cascade_of(chosen, within, targets) or chosen


def _cascade_of(chosen: Judged, within: Sequence[Judged], targets: Targets) -> Judged | None:
    """Return the cascade of the chosen pool, if it answers as well; it needs less of the machine.

    Its first model has the log loss of a cheap model on the rows that it answers, so some rise is
    part of the bargain; F1 must not be lower beyond chance.
    """
    name = f"{chosen.entry.name}{CASCADE}"
    cascade = next((one for one in within if one.entry.name == name), None)
    if cascade is None:
        return None
    against = contrast(cascade.scores, chosen.scores, targets)
    is_as_good = not against.f1.is_below_zero and against.log_loss.value <= LARGEST_RISE
    return cascade if is_as_good else None


def contrast(scores: Floats, others: Floats, targets: Targets) -> Contrast:
    """Compare two models on the same rows; both of shape `(repeats, rows, classes)`."""
    return Contrast(
        f1=f1_difference(targets, scores.argmax(axis=2), others.argmax(axis=2)),
        log_loss=mean_interval(losses(scores, targets) - losses(others, targets)),
    )


def losses(scores: Floats, targets: Targets) -> NDArray[np.float64]:
    """Return the mean log loss of each row over the repeats, in nats, shape `(rows,)`."""
    true = scores[:, np.arange(len(targets)), targets].astype(np.float64)
    found: NDArray[np.float64] = -np.log(np.maximum(true, SMALLEST)).mean(axis=0)
    return found


def mean_figures(figures: Sequence[Figures]) -> Figures:
    """Return the mean of the figures of several repeats."""

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in figures]))

    return Figures(
        rows=figures[0].rows,
        f1_plain=mean("f1_plain"),
        f1_official=mean("f1_official"),
        calibration_error=mean("calibration_error"),
        log_loss=mean("log_loss"),
    )
