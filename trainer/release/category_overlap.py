"""Verdict about a challenger whose categories are not those of the champion.

On rows of a category that the champion does not know, it is wrong whatever it answers: "better,
0.96 against 0.00" says nothing about the models. So the two are compared on the categories that
both know, and the others are reported by themselves.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from shared.categories import Category, label_key
from trainer.release.paired_bootstrap import Outcome, Rule, Verdict, compare

Codes = NDArray[np.int64]

#: Code of a row without an answer; no category has it, so the row counts as wrong.
NO_ANSWER = -1
#: Most categories that a sentence names.
NAMES_SHOWN = 3


@dataclass(frozen=True)
class Overlap:
    """Categories of two releases.

    Attributes:
        common: Codes of the categories that both know.
        new: Categories that only the challenger knows.
        lost: Categories that only the champion knows.
    """

    common: frozenset[int]
    new: tuple[Category, ...]
    lost: tuple[Category, ...]

    @classmethod
    def of(cls, champion: Sequence[Category], challenger: Sequence[Category]) -> "Overlap":
        """Match categories by code; equal codes with unlike names are two categories."""
        known = {category.code: category for category in champion}
        common = frozenset(
            one.code for one in challenger if one.code in known and _is_same(one, known[one.code])
        )
        return cls(
            common,
            tuple(one for one in challenger if one.code not in common),
            tuple(one for one in champion if one.code not in common),
        )


def judge(
    codes: Codes,
    champion: Codes,
    challenger: Codes,
    overlap: Overlap,
    rule: Rule,
    weights: Mapping[int, float] | None = None,
) -> dict[str, Any]:
    """Return the figures of the comparison, with its `sentence`.

    Args:
        codes: True categories, shape `(rows,)`.
        champion: Answers of the champion, shape `(rows,)`.
        challenger: Answers of the challenger, shape `(rows,)`.
        overlap: Categories of both.
        rule: Margin and confidence.
        weights: Weight of a row by its true category; 1 for all without it.

    Raises:
        InvalidInput: There are no rows.
    """
    is_common = np.isin(codes, sorted(overlap.common))
    # The champion's code of another category must not count as right.
    champion = np.where(np.isin(champion, sorted(overlap.common)), champion, NO_ANSWER)
    on_all = compare(codes, champion, challenger, rule, weights=weights)
    if not is_common.any():
        return _none_common(codes, challenger, overlap, rule)
    on_common = compare(
        codes[is_common], champion[is_common], challenger[is_common], rule, weights=weights
    )
    is_new = ~is_common
    outcome = _outcome(on_common, on_all) if is_new.any() else on_common.outcome
    sentence = begun(
        on_common.sentence(), on_common.outcome, outcome, "On the categories that both know"
    )
    if is_new.any():
        sentence += f"; {_about_new(codes[is_new], challenger[is_new])}"
    if overlap.lost:
        sentence += f"; {_about_lost(overlap.lost)}"
    return on_common.figures() | {
        "outcome": outcome.value,
        "sentence": sentence,
        **_figures(codes[is_new], challenger[is_new], overlap),
    }


def _outcome(on_common: Verdict, on_all: Verdict) -> Outcome:
    """Return the outcome where the challenger also knows new categories.

    Worse on the categories that customers see today, and better on new ones: a person decides.
    """
    if on_common.outcome is Outcome.NOT_BETTER:
        return Outcome.UNDECIDED
    is_better = Outcome.BETTER in (on_common.outcome, on_all.outcome)
    return Outcome.BETTER if is_better else Outcome.UNDECIDED


def begun(sentence: str, before: Outcome, outcome: Outcome, about: str) -> str:
    """Return a sentence that begins with the outcome of the whole.

    Args:
        sentence: Verdict on some of the rows, which begins with its outcome.
        before: That outcome.
        outcome: Outcome of the whole.
        about: What the sentence is about, as its new beginning.
    """
    if before is outcome:
        return sentence
    return f"{outcome.value.capitalize()}. {about}: {sentence[0].lower()}{sentence[1:]}"


def incomparable(sentence: str, rows: int, rule: Rule) -> dict[str, Any]:
    """Return the figures of a comparison that nothing can decide: a person does."""
    return {
        "outcome": Outcome.UNDECIDED.value,
        "champion_f1": None,
        "challenger_f1": None,
        "difference": None,
        "low": None,
        "high": None,
        "probability_better": None,
        "rows": rows,
        "margin": rule.margin,
        "confidence": rule.confidence,
        "sentence": sentence,
        "new_categories": 0,
        "lost_categories": 0,
        "new_rows": 0,
        "new_f1": None,
    }


def _none_common(codes: Codes, challenger: Codes, overlap: Overlap, rule: Rule) -> dict[str, Any]:
    sentence = (
        f"Not comparable: the champion knows none of the {_counted(codes)} of these "
        f"{len(codes)} rows; weighted F1 {_f1(codes, challenger):.4f} of the new release on them"
    )
    if overlap.lost:
        sentence += f"; {_about_lost(overlap.lost)}"
    return incomparable(sentence, len(codes), rule) | {
        "outcome": Outcome.NOT_COMPARABLE.value,
        "challenger_f1": _f1(codes, challenger),
        **_figures(codes, challenger, overlap),
    }


def _figures(codes: Codes, challenger: Codes, overlap: Overlap) -> dict[str, Any]:
    return {
        "new_categories": len(overlap.new),
        "lost_categories": len(overlap.lost),
        "new_rows": len(codes),
        "new_f1": _f1(codes, challenger) if len(codes) else None,
    }


def _about_new(codes: Codes, challenger: Codes) -> str:
    return (
        f"on {len(codes)} rows of {_counted(codes)} that the champion does not know, weighted F1 "
        f"{_f1(codes, challenger):.4f} of the new release"
    )


def _about_lost(lost: Sequence[Category]) -> str:
    codes = np.array([category.code for category in lost])
    return f"the new release does not know {_counted(codes)} of the champion: {_named(lost)}"


def _counted(codes: Codes) -> str:
    count = len(np.unique(codes))
    return "1 category" if count == 1 else f"{count} categories"


def _named(categories: Sequence[Category]) -> str:
    names = [category.name for category in categories[:NAMES_SHOWN]]
    more = len(categories) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _f1(codes: Codes, answers: Codes) -> float:
    labels = np.unique(codes)
    found = f1_score(codes, answers, labels=labels, average="weighted", zero_division=0)
    return float(found)


def _is_same(one: Category, other: Category) -> bool:
    """Return True unless the names have no word in common; a code alone is no name."""
    words = [set(_words(category)) for category in (one, other)]
    return not all(words) or bool(words[0] & words[1])


def _words(category: Category) -> Iterable[str]:
    name = label_key(category.name)
    return () if name == str(category.code) else re.findall(r"\w+", name)
