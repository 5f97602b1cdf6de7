"""Precision dial of a catalog: which answers to accept so that a wanted share of them is right."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rayon.answers import JsonObject


@dataclass(frozen=True)
class LabelEvidence:
    """Labelled answers among the accepted ones.

    Attributes:
        rows: Number of accepted answers with a label.
        right: Number of them whose label is the answer.
        low: Lower end of the 95 % interval of the share of right ones, 0 to 1.
        high: Upper end of that interval.
    """

    rows: int
    right: int
    low: float
    high: float


@dataclass(frozen=True)
class Selection:
    """The answers that are accepted for a target.

    Attributes:
        is_reached: False if no selection of the answers reaches the target; none is accepted then.
        reachable: Highest precision that any threshold reaches, 0 to 1; `None` without answers,
            or if all products may belong to none of the categories.
        threshold: Lowest confidence that is accepted; `None` if nothing is.
        rows: Number of answers to select from.
        accepted: Number of accepted answers.
        share: Accepted share of the answers, 0 to 1.
        review: Number of answers left for review: not accepted, and without a label.
        expected_precision: Expected share of right answers among the accepted ones; `None` if
            nothing is accepted.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        labels: What labels of accepted answers show; `None` if none is labelled.
    """

    is_reached: bool
    reachable: float | None
    threshold: float | None
    rows: int
    accepted: int
    share: float
    review: int
    expected_precision: float | None
    low: float | None
    high: float | None
    labels: LabelEvidence | None


@dataclass(frozen=True)
class CategoryPrecision(Selection):
    """The answers of one category that are accepted, with a threshold of its own."""

    prdtypecode: int
    category: str


@dataclass(frozen=True)
class Precision(Selection):
    """The answers of a catalog that are accepted for a target.

    Attributes:
        target: Wanted share of right answers among the accepted ones.
        by_category: True if each category has a threshold of its own; `threshold` is the lowest.
        method: `confidences` alone, or corrected by `labels`.
        is_estimate: True if no labels support the precision.
        labelled: Number of labelled answers of the catalog.
        labels_needed: Number of labelled answers from which on they correct the confidences.
        categories: The same for each category, most answers first; empty without `by_category`.
    """

    target: float
    by_category: bool
    method: Literal["confidences", "labels"]
    is_estimate: bool
    labelled: int
    labels_needed: int
    categories: tuple[CategoryPrecision, ...]
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def read(cls, body: JsonObject) -> "Precision":
        """Parse the precision dial of a catalog."""
        return cls(
            **_selection(body),
            target=body["target"],
            by_category=body["by_category"],
            method=body["method"],
            is_estimate=body["is_estimate"],
            labelled=body["labelled"],
            labels_needed=body["labels_needed"],
            categories=tuple(
                CategoryPrecision(
                    **_selection(one), prdtypecode=one["prdtypecode"], category=one["category"]
                )
                for one in body["categories"]
            ),
            raw=body,
        )


def _selection(body: JsonObject) -> Mapping[str, Any]:
    labels = body["labels"]
    names = (
        "is_reached",
        "reachable",
        "threshold",
        "rows",
        "accepted",
        "share",
        "review",
        "expected_precision",
        "low",
        "high",
    )
    evidence = labels and LabelEvidence(
        labels["rows"], labels["right"], labels["low"], labels["high"]
    )
    return {**{name: body[name] for name in names}, "labels": evidence}
