"""Paired bootstrap test of a challenger against the champion on the same held-out rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from trainer.release.intervals import RESAMPLES, distinct, weighted_f1

Codes = NDArray[np.int64]

#: Names of parts of a comparison; see `trainer.release.labelled_answers`.
LABELLED, CURRENT = "labelled answers", "rows weighted to the current mix"


class Outcome(StrEnum):
    """Outcome of a comparison."""

    BETTER = "better"
    NOT_BETTER = "not better"
    UNDECIDED = "undecided"
    #: The champion knows no category of the rows; see `trainer.release.category_overlap`.
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Rule:
    """Conditions under which a challenger counts as better.

    Attributes:
        margin: Smallest relevant difference of weighted F1.
        confidence: Confidence of the two-sided interval that must lie above zero.
        probability: Probability of being better that suffices without that; 1 requires it.
    """

    margin: float
    confidence: float
    probability: float = 1.0


@dataclass(frozen=True)
class Verdict:
    """Result of comparing a challenger with the champion.

    Attributes:
        champion_f1: Weighted F1 of the champion on all rows.
        challenger_f1: Weighted F1 of the challenger on all rows.
        low: Lower end of the interval of the difference (challenger - champion).
        high: Upper end of that interval.
        probability_better: Share of the resamples in which the challenger is ahead; a tie counts
            half.
        rows: Number of rows that both answered.
        rule: Margin and confidence of the comparison.
    """

    champion_f1: float
    challenger_f1: float
    low: float
    high: float
    probability_better: float
    rows: int
    rule: Rule

    @property
    def difference(self) -> float:
        """Difference of weighted F1, challenger - champion."""
        return self.challenger_f1 - self.champion_f1

    @property
    def outcome(self) -> Outcome:
        """Outcome; `BETTER` requires a gain of at least the margin that is likely enough."""
        is_likely = self.low > 0 or self.probability_better >= self.rule.probability
        if is_likely and self.difference >= self.rule.margin:
            return Outcome.BETTER
        return Outcome.NOT_BETTER if self.high < 0 else Outcome.UNDECIDED

    def sentence(self) -> str:
        """Return the verdict as a sentence."""
        reserve = ""
        if self.low > 0 and self.outcome is Outcome.UNDECIDED:
            reserve = ", the gain is below the margin"
        if self.low <= 0 and self.outcome is Outcome.BETTER:
            reserve = ", but not beyond chance"
        return (
            f"{self.outcome.value.capitalize()}{reserve}: "
            f"weighted F1 {self.challenger_f1:.4f} against "
            f"{self.champion_f1:.4f} of the champion on the same {self.rows} rows, difference "
            f"{self.difference:+.4f} ({self.rule.confidence:.0%} interval {self.low:+.4f} to "
            f"{self.high:+.4f}, margin {self.rule.margin:.4f}), probability of being better "
            f"{self.probability_better:.3f}"
        )

    def figures(self) -> dict[str, Any]:
        """Return the verdict in the form that the ledger stores."""
        return {
            "outcome": self.outcome.value,
            "champion_f1": self.champion_f1,
            "challenger_f1": self.challenger_f1,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "probability_better": self.probability_better,
            "rows": self.rows,
            "margin": self.rule.margin,
            "confidence": self.rule.confidence,
        }


def compare(
    codes: Codes,
    champion: Codes,
    challenger: Codes,
    rule: Rule,
    *,
    weights: Mapping[int, float] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Verdict:
    """Compare two releases by their answers to the same rows.

    Rows are resampled with replacement, both answers of a row together, and the difference of
    weighted F1 is computed each time; the interval spans its middle values (percentile
    interval, Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; paired as in
    Berg-Kirkpatrick, Burkett & Klein, "An Empirical Investigation of Statistical Significance in
    NLP", EMNLP 2012).

    Args:
        codes: True categories, shape `(rows,)`.
        champion: Answers of the champion, shape `(rows,)`; a code that no row has counts as wrong.
        challenger: Answers of the challenger, shape `(rows,)`.
        rule: Margin and confidence.
        weights: Weight of a row by its true category; 1 for all without it. Rows are drawn as they
            are, and each draw is weighted.
        resamples: Number of resamples.
        seed: Equal seeds give equal verdicts.

    Raises:
        InvalidInput: There are no rows, or not one answer for each.
    """
    if not (len(codes) == len(champion) == len(challenger) > 0):
        raise InvalidInput(
            "Expected two answers for each of at least one row. "
            f"Received: {len(codes)} rows, {len(champion)} and {len(challenger)} answers"
        )
    cells, counts = distinct(np.stack([codes, champion, challenger], axis=1))
    drawn = np.random.default_rng(seed).multinomial(len(codes), counts / len(codes), size=resamples)
    weight = np.array(
        [1.0 if weights is None else weights.get(int(code), 1.0) for code in cells[:, 0]]
    )
    difference = weighted_f1(cells, 2, drawn * weight) - weighted_f1(cells, 1, drawn * weight)
    tail = (1 - rule.confidence) / 2
    low, high = np.quantile(difference, [tail, 1 - tail])
    return Verdict(
        champion_f1=float(weighted_f1(cells, 1, counts[None] * weight)[0]),
        challenger_f1=float(weighted_f1(cells, 2, counts[None] * weight)[0]),
        low=float(low),
        high=float(high),
        probability_better=float((difference > 0).mean() + (difference == 0).mean() / 2),
        rows=len(codes),
        rule=rule,
    )
