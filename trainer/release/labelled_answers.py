"""Verdict on two parts of the held-out rows: rows of the shop's files, and labelled answers.

Labelled answers are what comes now. Beside the rows of the files they are few, so a gain on them
drowns in the whole, and a loss on the one part can hide behind a gain on the other. A challenger
that is better on what comes now, and not worse beyond a tolerance on what came before, is better.

After a change, a gain need only be likely (`Rule.probability`) if there are enough labelled
answers: the challenger has learnt from more of what comes now, and no release was trained on, or
chosen by, the newest of these answers (`trainer.datasets.split`).

Where the mix of categories has changed, all rows weighted to the current mix are what comes now:
losing on products that come no more is no loss, as long as no category is given up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.release.category_overlap import Codes, Overlap, begun, judge
from trainer.release.current_mix import given_up
from trainer.release.paired_bootstrap import CURRENT, LABELLED, Outcome, Rule

#: With fewer rows, a part is not judged by itself.
LEAST_ROWS = 50
FILES = "rows of the files"


@dataclass(frozen=True)
class Part:
    """Comparison on some of the rows."""

    name: str
    figures: dict[str, Any]

    @property
    def outcome(self) -> Outcome:
        """Outcome on these rows alone."""
        return Outcome(self.figures["outcome"])

    def is_worse(self, margin: float) -> bool:
        """Return True if the challenger is worse beyond chance, by more than the margin."""
        return self.outcome is Outcome.NOT_BETTER and self.figures["difference"] < -margin

    def is_kept(self, tolerance: float) -> bool:
        """Return True if the whole interval lies above the tolerated loss."""
        low = self.figures["low"]
        return low is not None and low >= -tolerance

    def sentence(self) -> str:
        """Return the comparison in a few words."""
        figures, rows = self.figures, f"on {self.figures['rows']} {self.name}"
        if figures["difference"] is None:
            return f"{rows} not comparable"
        without = ""
        if new := figures["new_rows"]:
            rows += f" and {new} of new categories"
            without = "without these "
        outcome = self.outcome.value
        if self.outcome is Outcome.BETTER and figures["low"] <= 0 and not new:
            outcome = f"better with a probability of {figures['probability_better']:.2f}"
        return (
            f"{rows} {outcome}, difference {without}{figures['difference']:+.4f} "
            f"({figures['low']:+.4f} to {figures['high']:+.4f})"
        )


def judge_parts(
    codes: Codes,
    champion: Codes,
    challenger: Codes,
    is_labelled: NDArray[np.bool_],
    overlap: Overlap,
    rule: Rule,
    tolerance: float,
    now: Mapping[int, float] | None = None,
) -> dict[str, Any]:
    """Return the figures of the comparison, with its `sentence` and `parts`.

    Args:
        codes: True categories, shape `(rows,)`.
        champion: Answers of the champion, shape `(rows,)`.
        challenger: Answers of the challenger, shape `(rows,)`.
        is_labelled: Mask of the labelled answers, shape `(rows,)`.
        overlap: Categories of both.
        rule: Margin and confidence.
        tolerance: Largest loss of weighted F1 on the rows of the files that a gain on labelled
            answers excuses.
        now: Share of each category in the current mix, if it is significantly another one than
            that of the training rows.

    Raises:
        InvalidInput: There are no rows.
    """
    if is_labelled.sum() < LEAST_ROWS:
        # Nothing shows that the challenger has learnt from what comes now.
        rule = replace(rule, probability=1.0)
    whole = judge(codes, champion, challenger, overlap, rule)
    masks = {FILES: ~is_labelled, LABELLED: is_labelled}
    if min(mask.sum() for mask in masks.values()) < LEAST_ROWS:
        return whole
    files, labelled = (
        Part(name, judge(codes[mask], champion[mask], challenger[mask], overlap, rule))
        for name, mask in masks.items()
    )
    parts = [files, labelled]
    lost: list[int] = []
    if now is not None:
        weights = _weights(codes, now)
        found = judge(codes, champion, challenger, overlap, rule, weights)
        parts.append(Part(CURRENT, found))
        lost = given_up(codes, champion, challenger)
    before = Outcome(whole["outcome"])
    # Old rows are weighted to the current mix, if it is known.
    decisive = [labelled, parts[-1] if now is not None else files]
    outcome = _outcome(before, decisive, rule, tolerance, is_current=now is not None)
    if lost and outcome is Outcome.BETTER:
        outcome = Outcome.UNDECIDED
    worse = [part.name for part in reversed(decisive) if part.is_worse(rule.margin)]
    reason = _reason(outcome, worse, lost)
    sentence = begun(whole["sentence"], before, outcome, f"{reason}. On all rows")
    return whole | {
        "outcome": outcome.value,
        "sentence": "; ".join([sentence, *(part.sentence() for part in parts)]),
        "parts": [{"name": part.name, **_short(part.figures)} for part in parts],
    }


def _outcome(
    whole: Outcome, decisive: list[Part], rule: Rule, tolerance: float, *, is_current: bool
) -> Outcome:
    """Return the outcome by the labelled answers and the other rows.

    Args:
        whole: Outcome on all rows as they are.
        decisive: The labelled answers, and what the other rows say.
        rule: Margin and confidence.
        tolerance: Largest loss on the other rows that a gain on labelled answers excuses.
        is_current: The other rows are weighted to the current mix.
    """
    labelled, others = decisive
    if labelled.is_worse(rule.margin) or others.is_worse(rule.margin):
        return Outcome.NOT_BETTER
    if labelled.outcome is Outcome.BETTER and others.is_kept(tolerance):
        return Outcome.BETTER
    return others.outcome if is_current else whole


def _reason(outcome: Outcome, worse: list[str], lost: list[int]) -> str:
    if worse:
        return f"Worse on the {' and the '.join(worse)}"
    if lost:
        return f"More than half of the F1 is lost of {', '.join(map(str, lost))}"
    return (
        "Better on what comes now" if outcome is Outcome.BETTER else "On what comes now undecided"
    )


def _weights(codes: Codes, now: Mapping[int, float]) -> dict[int, float]:
    """Return the weight of a row of each category, so that the rows have the current mix."""
    found, counts = np.unique(codes, return_counts=True)
    return {
        int(code): now.get(int(code), 0.0) * len(codes) / count
        for code, count in zip(found, counts, strict=True)
    }


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a part; the rest is that of the whole."""
    names = ("outcome", "champion_f1", "challenger_f1", "difference", "low", "high", "rows")
    return {name: figures[name] for name in names}
