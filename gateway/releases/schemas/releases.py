"""Request and response bodies of releases, categories and promotions."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, field_validator

from gateway.web.schemas import Body, NextCursor, Reason


class CategoryOut(BaseModel):
    """A category that a release can predict."""

    prdtypecode: int = Field(description="Code of the category.")
    category: str = Field(description="Name of the category, as the shop writes it.")
    category_path: list[str] = Field(
        default=[],
        description="Parts of the name from the root of the shop's tree; empty without a tree.",
    )


class CategoryList(BaseModel):
    """The categories of a release."""

    release: str = Field(description="Version of the release.")
    items: list[CategoryOut] = Field(description="The categories, in the order of the release.")


class VerdictPartOut(BaseModel):
    """Comparison on some of the rows."""

    name: str = Field(
        description="`rows of the files`, `labelled answers` or `rows weighted to the current mix`."
    )
    outcome: str = Field(description="Outcome on these rows alone, as that of the whole.")
    rows: int = Field(description="Number of rows that both answered.")
    champion_f1: float | None = Field(
        description="Weighted F1 of the champion; `null` if it knows none of their categories."
    )
    challenger_f1: float = Field(description="Weighted F1 of the new release.")
    difference: float | None = Field(description="Gain of the new release; `null` as above.")
    low: float | None = Field(description="Lower end of its interval; `null` as above.")
    high: float | None = Field(description="Upper end of its interval; `null` as above.")


class VerdictOut(BaseModel):
    """Comparison of a release with the champion of that time, on the same held-out products."""

    outcome: str = Field(
        description="`better`, `not better`, `undecided` or `not comparable`; later versions may "
        "add others."
    )
    sentence: str = Field(default="", description="The outcome and its figures in words.")
    parts: list[VerdictPartOut] = Field(
        default=[],
        description="Rows of the shop's files and labelled answers by themselves, with 50 rows of "
        "each or more; a release that is worse on either is not better. If the mix of categories "
        "has changed, all rows weighted to the current mix take the place of those of the files.",
    )


class FindingOut(BaseModel):
    """One comparison of a promoted release with the release before."""

    measure: str = Field(
        description="`failures`, `degraded`, `latency`, `labels`, or `agreement_` with `fusion`, "
        "`text` or `image`; later versions may add others."
    )
    rows: int = Field(description="Answers or products of the promoted release.")
    value: float = Field(
        description="Its figure: share of failed, degraded, correct or differing answers, or the "
        "ratio of the median times."
    )
    before: float = Field(
        description="Figure of the release before; for an agreement, the largest share on which "
        "equally good releases differ."
    )
    p_value: float = Field(description="Probability of such a difference by chance.")
    is_worse: bool = Field(
        description="`true` if the difference is larger than chance and large enough to matter."
    )
    sentence: str = Field(description="The figures in words.")


class WatchOut(BaseModel):
    """Comparison of a promoted release with the release before, over its first answers."""

    state: str = Field(
        description="`watching`, `passed`, `rolling_back`, `rolled_back`, `alerted` (worse, and "
        "left to a person), `undecided` (too few answers) or `replaced` (by another promotion); "
        "later versions may add others."
    )
    sentence: str = Field(description="The state in words; for a worse release, the reason.")
    at: datetime = Field(description="Time when the state began, in UTC.")
    answers: int = Field(default=0, description="Answers of the promoted release that were seen.")
    labelled: int = Field(
        default=0, description="Labelled ones among the answers drawn at random for review."
    )
    compared: int = Field(default=0, description="Products that both releases scored.")
    findings: list[FindingOut] = Field(
        default=[], description="Newest comparison by each measure; without those that need more."
    )

    @field_validator("findings", mode="before")
    @classmethod
    def _as_list(cls, stored: Any) -> Any:
        return list(stored.values()) if isinstance(stored, dict) else stored


class ReleaseOut(BaseModel):
    """A release: the models of one training run."""

    version: str = Field(description="Version of the release, such as `3`.")
    aliases: list[str] = Field(description="Aliases, such as `champion` or `challenger`.")
    created_at: datetime = Field(description="Time of the registration, in UTC.")
    description: str = Field(description="Description of the release; may be empty.")
    figures: dict[str, float] = Field(description="Metrics of the training, such as F1.")
    rejected: str | None = Field(
        description="Reason for its rejection; a rejected release cannot be promoted. `null` "
        "unless it was rejected."
    )
    serving: bool = Field(
        default=False,
        description="`true` if new jobs get this release. A champion may not serve yet: workers "
        "load it first.",
    )
    verdict: VerdictOut | None = Field(
        default=None, description="Its comparison with the champion; `null` without one."
    )
    watch: WatchOut | None = Field(
        default=None, description="Watch over its first promotion; `null` without one."
    )


class PromotionOut(BaseModel):
    """An entry of the promotion ledger."""

    promoted_at: datetime = Field(description="Time of the promotion, in UTC.")
    version: str = Field(description="Version of the promoted release.")
    previous_version: str | None = Field(
        description="Version of the champion before; `null` for the first one."
    )
    promoted_by: str = Field(
        description="Username, or the program that promoted it, such as `trainer`."
    )
    reason: str = Field(description="Reason of the promotion.")
    figures: dict[str, Any] = Field(description="Evidence for the decision.")
    pending: bool = Field(
        default=False,
        validation_alias="is_pending",
        description="`true` if the registry has not confirmed it; it is repeated until then.",
    )
    watch: WatchOut | None = Field(
        default=None,
        description="Watch over the release after the promotion; `null` for a release that served "
        "before, and for the first one.",
    )


class ReleaseList(BaseModel):
    """The releases and the promotion ledger, newest first."""

    items: list[ReleaseOut] = Field(description="The releases: all, or those of the page.")
    ledger: list[PromotionOut] = Field(
        description="All promotions. With `limit`, the newest ones on the first page, and none on "
        "the others."
    )
    next_cursor: NextCursor = None


class PromoteRequest(Body):
    """The reason for a promotion or rollback."""

    reason: Reason
