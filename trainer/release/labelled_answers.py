"""Verdict on two parts of the held-out rows: rows of the shop's files, and labelled answers.

Labelled answers are what comes now. Beside the rows of the files they are few, so a gain on them
drowns in the whole, and a loss on the one part can hide behind a gain on the other. A challenger
that is better on what comes now, and not worse beyond a tolerance on what came before, is better.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.release.category_overlap import Codes, Overlap, begun, judge
from trainer.release.paired_bootstrap import Outcome, Rule

#: With fewer rows, a part is not judged by itself.
LEAST_ROWS = 50
FILES, LABELLED = "rows of the files", "labelled answers"


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
        return (
            f"{rows} {self.outcome.value}, difference {without}{figures['difference']:+.4f} "
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

    Raises:
        InvalidInput: There are no rows.
    """
    whole = judge(codes, champion, challenger, overlap, rule)
    masks = {FILES: ~is_labelled, LABELLED: is_labelled}
    if min(mask.sum() for mask in masks.values()) < LEAST_ROWS:
        return whole
    files, labelled = (
        Part(name, judge(codes[mask], champion[mask], challenger[mask], overlap, rule))
        for name, mask in masks.items()
    )
    before = Outcome(whole["outcome"])
    outcome = _outcome(before, files, labelled, rule, tolerance)
    worse = [part.name for part in (files, labelled) if part.is_worse(rule.margin)]
    reason = f"Worse on the {' and the '.join(worse)}" if worse else "Better on what comes now"
    sentence = begun(whole["sentence"], before, outcome, f"{reason}. On all rows")
    return whole | {
        "outcome": outcome.value,
        "sentence": f"{sentence}; {files.sentence()}; {labelled.sentence()}",
        "parts": [{"name": part.name, **_short(part.figures)} for part in (files, labelled)],
    }


def _outcome(whole: Outcome, files: Part, labelled: Part, rule: Rule, tolerance: float) -> Outcome:
    if files.is_worse(rule.margin) or labelled.is_worse(rule.margin):
        return Outcome.NOT_BETTER
    if labelled.outcome is Outcome.BETTER and files.is_kept(tolerance):
        return Outcome.BETTER
    return whole


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a part; the rest is that of the whole."""
    names = ("outcome", "champion_f1", "challenger_f1", "difference", "low", "high", "rows")
    return {name: figures[name] for name in names}
