"""Lists in a drift alert: categories, example products, and changes as text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.contracts import Modality
from trainer.monitoring.two_samples import Difference, moved_categories
from trainer.reference.sample import Sample

Counts = NDArray[np.int64]
Line = dict[str, Any]

#: Maximum length of a list in an alert.
MOST_LISTED = 5
#: Share of the reference itself that counts as unlike the reference.
UNLIKE = 0.05


def unlike_categories(
    answers: Counts, is_unlike: NDArray[np.bool_], categories: CategorySet
) -> list[Line]:
    """Return the answered categories with the largest shares of products unlike the reference."""
    lines: list[Line] = []
    for column in np.unique(answers[answers >= 0]):
        share = float(is_unlike[answers == column].mean())
        if (answers == column).sum() >= MOST_LISTED and share > 2 * UNLIKE:
            code = categories.codes[column]
            line = {"code": code, "category": categories.name(code)}
            lines.append(line | {"reference": UNLIKE, "window": round(share, 4)})
    return sorted(lines, key=lambda line: -float(line["window"]))[:MOST_LISTED]


def category_shares(of_reference: Counts, of_window: Counts, categories: CategorySet) -> list[Line]:
    """Return the categories whose share changed, with both shares."""
    return [
        {
            "code": categories.codes[column],
            "category": categories.categories[column].name,
            "reference": round(of_reference[column] / max(of_reference.sum(), 1), 4),
            "window": round(of_window[column] / max(of_window.sum(), 1), 4),
        }
        for column in moved_categories(of_reference, of_window).tolist()[:MOST_LISTED]
    ]


def risen_examples(answers: Counts, classes: Sequence[Line], categories: CategorySet) -> list[Line]:
    """Return one product of each category that is answered more often."""
    column = {code: place for place, code in enumerate(categories.codes)}
    risen = [column[line["code"]] for line in classes if line["window"] > line["reference"]]
    first = [np.flatnonzero(answers == place)[:1].tolist() for place in risen]
    return [{"product": product, "unlikeness": None} for places in first for product in places]


def disagreeing_examples(window: Sample) -> list[Line]:
    """Return products on whose category text and image disagree."""
    text, image = window.views[Modality.TEXT], window.views[Modality.IMAGE]
    both, of_text, of_image = np.intersect1d(text.products, image.products, return_indices=True)
    differs = text.probabilities[of_text].argmax(axis=1) != image.probabilities[of_image].argmax(
        axis=1
    )
    return [
        {"product": product, "unlikeness": None} for product in both[differs].tolist()[:MOST_LISTED]
    ]


def format_shares(classes: Sequence[Line]) -> str:
    """Format the shares of categories, such as `Livres 5.0% → 9.1%`."""
    lines = [
        f"{line['category']} {line['reference']:.1%} → {line['window']:.1%}" for line in classes
    ]
    return ", ".join(lines) or "no single category stands out"


def format_features(features: Sequence[Line]) -> str:
    """Format the means of the first features, such as `brightness 160 → 60`."""
    return ", ".join(
        f"{line['name']} {line['reference']:g} → {line['window']:g}" for line in features[:3]
    )


def as_dict(difference: Difference) -> dict[str, float]:
    """Return effect and p-value as stored."""
    return {"effect": round(difference.effect, 4), "p_value": difference.p_value}
