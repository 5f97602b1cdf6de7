"""Compares a window of answers with the release's reference: what moved, how far, which products.

    text, image    a classifier tells the window's products from the reference's
    prediction     other categories are answered, or text and image agree less often
    quality        more products without a title, broken images, new languages

Something moved when its effect is larger than the threshold and chance does not explain it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.contracts import Modality
from trainer.monitoring.drift.domain_classifier import (
    Difference,
    feature_moved,
    mix_moved,
    share_moved,
    shares_moved,
    tell_apart,
)
from trainer.reference.sample import NAMES, QUALITY, Sample, View

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Line = dict[str, Any]

#: Products of a window that are told apart from the reference's; more say nothing new.
MOST_COMPARED = 2_000
#: With fewer rows of a modality nothing is said about it.
LEAST_ROWS = 50
#: A product that looks less like the reference than all but so many of its own is unlike.
UNLIKE = 0.05
#: Lines of a list in an alert.
MOST_TOLD = 5
#: A language that a smaller part of the reference speaks is new where a larger one speaks it.
NEW_LANGUAGE = 0.02


@dataclass(frozen=True)
class Limits:
    """What is far, and what is unlikely.

    The false alarms that these allow are measured by `make alarms`.

    Attributes:
        content: Of `2 AUC - 1`: .15 is as if one product in seven were unlike all others.
        mix: Of the population stability index beyond chance; .1 is the usual beginning of a
            moderate change.
        share: Of Cohen's h; .2 is what he calls small.
        p_value: Of each test; two windows in a row are asked for besides.
    """

    content: float = 0.15
    mix: float = 0.1
    share: float = 0.2
    p_value: float = 0.001


@dataclass(frozen=True)
class Measured:
    """One kind of drift in one window."""

    effect: float
    threshold: float
    p_value: float
    rows: int
    sentence: str
    features: list[Line] = field(default_factory=list)
    classes: list[Line] = field(default_factory=list)
    #: Positions of products in the window, most unlike first; a caller knows their names.
    examples: list[Line] = field(default_factory=list)

    def has_moved(self, limits: Limits) -> bool:
        """Whether it is both far and beyond chance."""
        return self.effect >= self.threshold and self.p_value <= limits.p_value


def measure(
    reference: Sample, window: Sample, categories: CategorySet, limits: Limits
) -> dict[str, Measured]:
    """Compare a window with the reference, by kind; what neither has enough of is left out."""
    found = {}
    for modality in Modality:
        if modality in reference.views and modality in window.views:
            there, here = reference.views[modality], window.views[modality]
            if min(len(there.products), len(here.products)) >= LEAST_ROWS:
                found[modality.value] = _content(
                    modality, there, here, window.answers, categories, limits
                )
    found["prediction"] = _prediction(reference, window, categories, limits)
    found["quality"] = _quality(reference, window, limits)
    return found


def _content(
    modality: Modality,
    reference: View,
    window: View,
    answers: Counts,
    categories: CategorySet,
    limits: Limits,
) -> Measured:
    window = window.take(_spread(len(window.products), MOST_COMPARED))
    told = tell_apart(reference.features, window.features)
    features = _features(modality, reference, window)
    edge = np.quantile(told.reference, 1 - UNLIKE)
    is_unlike = told.window > edge
    what = "Texts" if modality is Modality.TEXT else "Images"
    strangest = np.argsort(-told.window, kind="stable")[:MOST_TOLD]
    return Measured(
        effect=round(told.difference.effect, 4),
        threshold=limits.content,
        p_value=told.difference.p_value,
        rows=len(window.products),
        sentence=f"{what} differ: {_listed(features)}",
        features=features,
        classes=_unlike_classes(answers[window.products], is_unlike, categories),
        examples=[
            {"product": int(window.products[row]), "unlikeness": round(float(told.window[row]), 3)}
            for row in strangest
        ],
    )


def _features(modality: Modality, reference: View, window: View) -> list[Line]:
    """The descriptors that moved most, and how sure the model is."""
    columns = zip(NAMES[modality], reference.descriptors.T, window.descriptors.T, strict=True)
    sure = ("confidence", reference.probabilities.max(axis=1), window.probabilities.max(axis=1))
    lines: list[Line] = [
        {
            "name": name,
            "reference": _rounded(there.mean()),
            "window": _rounded(here.mean()),
            **_as_dict(feature_moved(there, here)),
        }
        for name, there, here in (*columns, sure)
    ]
    return sorted(lines, key=lambda line: -float(line["effect"]))[:MOST_TOLD]


def _unlike_classes(
    answers: Counts, is_unlike: NDArray[np.bool_], categories: CategorySet
) -> list[Line]:
    """Answered categories with the largest shares of products unlike the reference's."""
    lines: list[Line] = []
    for column in np.unique(answers[answers >= 0]):
        share = float(is_unlike[answers == column].mean())
        if (answers == column).sum() >= MOST_TOLD and share > 2 * UNLIKE:
            code = categories.codes[column]
            lines.append({"code": code, "reference": UNLIKE, "window": round(share, 4)})
    return sorted(lines, key=lambda line: -float(line["window"]))[:MOST_TOLD]


def _prediction(
    reference: Sample, window: Sample, categories: CategorySet, limits: Limits
) -> Measured:
    there, here = reference.mix(len(categories)), window.mix(len(categories))
    mix = mix_moved(there, here)
    agreed, agree = reference.agreement, window.agreement
    agreement = share_moved(*agreed, *agree) if agree[1] >= LEAST_ROWS else Difference(0.0, 1.0)
    classes = _moved_classes(there, here, categories)
    found = Measured(
        effect=round(mix.effect, 4),
        threshold=limits.mix,
        p_value=mix.p_value,
        rows=int(here.sum()),
        sentence=f"Other categories are answered: {_shares(classes)}",
        classes=classes,
        examples=_of_classes(window.answers, classes, categories),
    )
    if _passes(-agreement.effect, agreement.p_value, limits) and not found.has_moved(limits):
        before, now = agreed[0] / agreed[1], agree[0] / agree[1]
        return replace(
            found,
            effect=round(-agreement.effect, 4),
            threshold=limits.share,
            p_value=agreement.p_value,
            rows=agree[1],
            sentence=f"Text and image agree on {now:.0%} of the products, not on {before:.0%}",
            features=[
                {
                    "name": "text and image agree",
                    "reference": round(before, 4),
                    "window": round(now, 4),
                    **_as_dict(agreement),
                }
            ],
            examples=_disagreeing(window),
        )
    return found


def _quality(reference: Sample, window: Sample, limits: Limits) -> Measured:
    lines: list[Line] = [
        {
            "name": _called(name),
            "reference": round(there[0] / max(there[1], 1), 4),
            "window": round(here[0] / max(here[1], 1), 4),
            **_as_dict(share_moved(*there, *here)),
        }
        for name, there, here in _counted(reference, window)
    ]
    worse = [line for line in lines if _passes(line["effect"], line["p_value"], limits)]
    worst = max(worse or lines, key=lambda line: float(line["effect"]), default=None)
    told = [
        f"{line['window']:.1%} are {line['name']}, not {line['reference']:.1%}" for line in worse
    ]
    return Measured(
        effect=max(0.0, round(float(worst["effect"]), 4)) if worst else 0.0,
        threshold=limits.share,
        p_value=float(worst["p_value"]) if worst else 1.0,
        rows=len(window.answers),
        sentence=f"Products are worse: {'; '.join(told)}" if told else "Products are as they were",
        features=sorted(worse or lines, key=lambda line: -float(line["effect"]))[:MOST_TOLD],
    )


def _counted(
    reference: Sample, window: Sample
) -> Iterable[tuple[str, tuple[int, int], tuple[int, int]]]:
    spoken = [of for name, (_, of) in reference.quality.items() if name not in QUALITY]
    for name, here in window.quality.items():
        # In the reference nobody speaks a language that it does not name.
        there = reference.quality.get(name, (0, max(spoken, default=0)))
        is_new = there[0] < NEW_LANGUAGE * max(there[1], 1)
        if name in QUALITY or (is_new and here[0] > NEW_LANGUAGE * max(here[1], 1)):
            yield name, there, here


def _called(name: str) -> str:
    return QUALITY.get(name) or name.replace("language: ", "in a new language, ")


def _passes(effect: float, p_value: float, limits: Limits) -> bool:
    return effect >= limits.share and p_value <= limits.p_value


def _moved_classes(there: Counts, here: Counts, categories: CategorySet) -> list[Line]:
    return [
        {
            "code": categories.codes[column],
            "reference": round(there[column] / max(there.sum(), 1), 4),
            "window": round(here[column] / max(here.sum(), 1), 4),
        }
        for column in shares_moved(there, here).tolist()[:MOST_TOLD]
    ]


def _of_classes(answers: Counts, classes: Sequence[Line], categories: CategorySet) -> list[Line]:
    """A product of each category that is answered more often."""
    column = {code: place for place, code in enumerate(categories.codes)}
    risen = [column[line["code"]] for line in classes if line["window"] > line["reference"]]
    first = [np.flatnonzero(answers == one)[:1].tolist() for one in risen]
    return [{"product": product, "unlikeness": None} for found in first for product in found]


def _disagreeing(window: Sample) -> list[Line]:
    text, image = window.views[Modality.TEXT], window.views[Modality.IMAGE]
    both, of_text, of_image = np.intersect1d(text.products, image.products, return_indices=True)
    differs = text.probabilities[of_text].argmax(axis=1) != image.probabilities[of_image].argmax(
        axis=1
    )
    return [
        {"product": product, "unlikeness": None} for product in both[differs].tolist()[:MOST_TOLD]
    ]


def _shares(classes: Sequence[Line]) -> str:
    lines = [f"{line['code']} {line['reference']:.1%} → {line['window']:.1%}" for line in classes]
    return ", ".join(lines) or "no single one"


def _listed(features: Sequence[Line]) -> str:
    return ", ".join(
        f"{line['name']} {line['reference']:g} → {line['window']:g}" for line in features[:3]
    )


def _as_dict(difference: Difference) -> dict[str, float]:
    return {"effect": round(difference.effect, 4), "p_value": difference.p_value}


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _spread(rows: int, most: int) -> Counts:
    """Positions of at most so many rows, spread evenly over all."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))
