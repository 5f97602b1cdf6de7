"""Response bodies of the precision dial."""

from typing import Literal

from pydantic import BaseModel, Field


class LabelEvidence(BaseModel):
    """Labels of the accepted answers, and what they alone show."""

    rows: int = Field(description="Answers from the threshold upwards that people have labelled.")
    right: int = Field(description="Number of them whose label is the answer.")
    low: float = Field(
        description="Lower end of the 95 % interval of the share of right ones (Wilson), 0 to 1."
    )
    high: float = Field(description="Upper end of that interval, 0 to 1.")


class SelectionOut(BaseModel):
    """The answers that are accepted for the target, and their expected precision."""

    is_reached: bool = Field(
        description="True if the target can be reached; otherwise nothing is accepted."
    )
    reachable: float | None = Field(
        description="Highest target that any threshold reaches, 0 to 1; `null` without answers, "
        "or if all are `is_foreign`."
    )
    threshold: float | None = Field(
        description="Lowest confidence that is accepted; `null` if nothing is accepted."
    )
    rows: int = Field(description="Answers to select from.")
    accepted: int = Field(
        description="Answers that are accepted: they have the confidence, and no label contradicts "
        "them."
    )
    share: float = Field(description="Share of the answers that is accepted, 0 to 1.")
    review: int = Field(
        description="Answers left for review: they are not accepted and have no label."
    )
    foreign: int = Field(
        description="Number of those whose product may belong to none of the categories "
        "(`is_foreign`); no threshold accepts them."
    )
    expected_precision: float | None = Field(
        description="Expected share of right answers among the accepted ones, 0 to 1; `null` if "
        "nothing is accepted."
    )
    low: float | None = Field(
        description="Lower end of the 95 % interval of the precision; `null` if nothing is "
        "accepted."
    )
    high: float | None = Field(
        description="Upper end of the 95 % interval of the precision; `null` if nothing is "
        "accepted."
    )
    labels: LabelEvidence | None = Field(
        description="Labels of the accepted answers; `null` if none is labelled."
    )


class CategoryPrecision(SelectionOut):
    """The answers of one category that are accepted for the target."""

    prdtypecode: int = Field(description="Code of the category.")
    category: str = Field(description="Name of the category, as the shop writes it.")


class PrecisionOut(SelectionOut):
    """The answers of a catalog that are accepted for a target precision.

    The expected precision is the mean of the probabilities that the accepted answers are right.
    Those are the confidences, corrected by held-out products of the release, and with at least 100
    labelled answers by the labels (logistic recalibration). A target is reached if the lower
    bound of that mean reaches it, with a confidence of 90 %. The interval contains the
    chance of a Poisson-binomial distribution and the uncertainty of the correction, both as normal
    distributions. Labels correct well only if right answers were labelled as well as wrong ones.
    """

    target: float = Field(description="Wanted share of right answers among the accepted ones.")
    by_category: bool = Field(
        description="True if each category has a threshold of its own; `threshold` is the lowest."
    )
    method: Literal["confidences", "labels"] = Field(
        description="`confidences`: confidences, as the release corrects them. `labels`: corrected "
        "by labels of the catalog too."
    )
    is_estimate: bool = Field(description="True if no labels of the catalog support the precision.")
    labelled: int = Field(
        description="Labelled answers of the catalog, without those that are `is_foreign`."
    )
    labels_needed: int = Field(description="Labelled answers from which on they are used.")
    held_out: int = Field(
        default=0,
        description="Held-out products by which the release corrects its confidences; 0 for a "
        "release of an earlier version, whose confidences are taken as they are.",
    )
    categories: list[CategoryPrecision] = Field(
        description="The same for each category, most answers first; empty without `by_category`."
    )
