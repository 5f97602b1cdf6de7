"""Compares a window of answers with the release's reference, by kind of drift.

    text, image    a domain classifier separates the window's products from the reference's
    prediction     the mix of answered categories changed, or text and image agree less often
    quality        more products without a title, unreadable images, new languages

A kind has moved if its effect reaches the threshold and is statistically significant.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.contracts import Modality
from trainer.monitoring.drift.listing import (
    MOST_LISTED,
    UNLIKE,
    Line,
    as_dict,
    category_shares,
    disagreeing_examples,
    format_features,
    format_shares,
    risen_examples,
    unlike_categories,
)
from trainer.monitoring.two_samples import (
    Difference,
    compare_feature,
    compare_mixes,
    compare_shares,
    domain_classifier_test,
)
from trainer.reference.sample import NAMES, QUALITY, Sample, View

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

#: Maximum number of window products for the domain classifier; more add no information.
MOST_COMPARED = 2_000
#: Minimum number of rows of a modality to measure its drift.
LEAST_ROWS = 50
#: A language is new if its share is below this in the reference and above it in the window.
NEW_LANGUAGE = 0.02


@dataclass(frozen=True)
class Limits:
    """Effect sizes and the significance level that count as drift.

    `make alarms` measures the rate of false alarms under these limits.

    Attributes:
        content: Threshold of `2 AUC - 1`; .15 is as if one product in seven were unlike all others.
        mix: Threshold of the population stability index beyond chance; .1 is the conventional
            lower limit of a moderate change.
        share: Threshold of Cohen's h; .2 is a small effect by his convention.
        p_value: Significance level of each test; an alert also needs two consecutive windows.
    """

    content: float = 0.15
    mix: float = 0.1
    share: float = 0.2
    p_value: float = 0.001


@dataclass(frozen=True)
class Measured:
    """Measurement of one kind of drift in one window."""

    effect: float
    threshold: float
    p_value: float
    rows: int
    sentence: str
    features: list[Line] = field(default_factory=list)
    classes: list[Line] = field(default_factory=list)
    #: Positions of products in the window, least similar first; the caller resolves them to jobs.
    examples: list[Line] = field(default_factory=list)

    def has_moved(self, limits: Limits) -> bool:
        """Return True if the effect is both large and significant."""
        return self.effect >= self.threshold and self.p_value <= limits.p_value


def measure(
    reference: Sample, window: Sample, categories: CategorySet, limits: Limits
) -> dict[str, Measured]:
    """Compare a window with the reference by kind, omitting modalities with too few rows."""
    measured = {}
    for modality in Modality:
        if modality in reference.views and modality in window.views:
            of_reference, of_window = reference.views[modality], window.views[modality]
            if min(len(of_reference.products), len(of_window.products)) >= LEAST_ROWS:
                measured[modality.value] = _content(
                    modality, of_reference, of_window, window.answers, categories, limits
                )
    measured["prediction"] = _prediction(reference, window, categories, limits)
    measured["quality"] = _quality(reference, window, limits)
    return measured


def _content(
    modality: Modality,
    reference: View,
    window: View,
    answers: Counts,
    categories: CategorySet,
    limits: Limits,
) -> Measured:
    window = window.take(_spread(len(window.products), MOST_COMPARED))
    result = domain_classifier_test(reference.features, window.features)
    features = _features(modality, reference, window)
    threshold = np.quantile(result.reference, 1 - UNLIKE)
    is_unlike = result.window > threshold
    subject = "Texts" if modality is Modality.TEXT else "Images"
    least_similar = np.argsort(-result.window, kind="stable")[:MOST_LISTED]
    return Measured(
        effect=round(result.difference.effect, 4),
        threshold=limits.content,
        p_value=result.difference.p_value,
        rows=len(window.products),
        sentence=f"{subject} differ from the reference: {format_features(features)}",
        features=features,
        classes=unlike_categories(answers[window.products], is_unlike, categories),
        examples=[
            {
                "product": int(window.products[row]),
                "unlikeness": round(float(result.window[row]), 3),
            }
            for row in least_similar
        ],
    )


def _features(modality: Modality, reference: View, window: View) -> list[Line]:
    """Return the largest changes among the descriptors and the model's confidence."""
    columns = zip(NAMES[modality], reference.descriptors.T, window.descriptors.T, strict=True)
    confidence = (
        "confidence",
        reference.probabilities.max(axis=1),
        window.probabilities.max(axis=1),
    )
    lines: list[Line] = [
        {
            "name": name,
            "reference": _rounded(of_reference.mean()),
            "window": _rounded(of_window.mean()),
            **as_dict(compare_feature(of_reference, of_window)),
        }
        for name, of_reference, of_window in (*columns, confidence)
    ]
    return sorted(lines, key=lambda line: -float(line["effect"]))[:MOST_LISTED]


def _prediction(
    reference: Sample, window: Sample, categories: CategorySet, limits: Limits
) -> Measured:
    of_reference, of_window = reference.mix(len(categories)), window.mix(len(categories))
    mix = compare_mixes(of_reference, of_window)
    agreed, agree = reference.agreement, window.agreement
    agreement = compare_shares(*agreed, *agree) if agree[1] >= LEAST_ROWS else Difference(0.0, 1.0)
    classes = category_shares(of_reference, of_window, categories)
    drift = Measured(
        effect=round(mix.effect, 4),
        threshold=limits.mix,
        p_value=mix.p_value,
        rows=int(of_window.sum()),
        sentence=f"Answered categories changed: {format_shares(classes)}",
        classes=classes,
        examples=risen_examples(window.answers, classes, categories),
    )
    if _passes(-agreement.effect, agreement.p_value, limits) and not drift.has_moved(limits):
        before, now = agreed[0] / agreed[1], agree[0] / agree[1]
        return replace(
            drift,
            effect=round(-agreement.effect, 4),
            threshold=limits.share,
            p_value=agreement.p_value,
            rows=agree[1],
            sentence=f"Text and image agree on {now:.0%} of the products (reference: {before:.0%})",
            features=[
                {
                    "name": "text and image agree",
                    "reference": round(before, 4),
                    "window": round(now, 4),
                    **as_dict(agreement),
                }
            ],
            examples=disagreeing_examples(window),
        )
    return drift


def _quality(reference: Sample, window: Sample, limits: Limits) -> Measured:
    lines: list[Line] = [
        {
            "name": _title(name),
            "reference": round(of_reference[0] / max(of_reference[1], 1), 4),
            "window": round(of_window[0] / max(of_window[1], 1), 4),
            **as_dict(compare_shares(*of_reference, *of_window)),
        }
        for name, of_reference, of_window in _counted(reference, window)
    ]
    worse = [line for line in lines if _passes(line["effect"], line["p_value"], limits)]
    worst = max(worse or lines, key=lambda line: float(line["effect"]), default=None)
    changes = [
        f"{line['window']:.1%} are {line['name']} (reference: {line['reference']:.1%})"
        for line in worse
    ]
    return Measured(
        effect=max(0.0, round(float(worst["effect"]), 4)) if worst else 0.0,
        threshold=limits.share,
        p_value=float(worst["p_value"]) if worst else 1.0,
        rows=len(window.answers),
        sentence=f"Input data degraded: {'; '.join(changes)}"
        if changes
        else "Input data did not degrade",
        features=sorted(worse or lines, key=lambda line: -float(line["effect"]))[:MOST_LISTED],
    )


def _counted(
    reference: Sample, window: Sample
) -> Iterable[tuple[str, tuple[int, int], tuple[int, int]]]:
    speakers = [of for name, (_, of) in reference.quality.items() if name not in QUALITY]
    for name, of_window in window.quality.items():
        # A language missing from the reference has a count of 0 in it.
        of_reference = reference.quality.get(name, (0, max(speakers, default=0)))
        is_new = of_reference[0] < NEW_LANGUAGE * max(of_reference[1], 1)
        if name in QUALITY or (is_new and of_window[0] > NEW_LANGUAGE * max(of_window[1], 1)):
            yield name, of_reference, of_window


def _title(name: str) -> str:
    return QUALITY.get(name) or name.replace("language: ", "in a new language, ")


def _passes(effect: float, p_value: float, limits: Limits) -> bool:
    return effect >= limits.share and p_value <= limits.p_value


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _spread(rows: int, most: int) -> Counts:
    """Return evenly spaced positions of at most `most` rows."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))
