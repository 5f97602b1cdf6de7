"""Request and response bodies of releases, categories and promotions."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body


class CategoryOut(BaseModel):
    """A category that a release can predict."""

    prdtypecode: int
    category: str


class CategoryList(BaseModel):
    """The categories of a release."""

    release: str = Field(description="Version of the release.")
    items: list[CategoryOut]


class ReleaseOut(BaseModel):
    """A release: the models of one training run."""

    version: str
    aliases: list[str] = Field(description="Aliases, such as `champion` or `challenger`.")
    created_at: datetime
    description: str
    figures: dict[str, float] = Field(description="Metrics of the training, such as F1.")
    rejected: str | None = Field(
        description="Reason for its rejection; a rejected release cannot be promoted."
    )


class PromotionOut(BaseModel):
    """An entry of the promotion ledger."""

    promoted_at: datetime
    version: str
    previous_version: str | None
    promoted_by: str
    reason: str
    figures: dict[str, Any] = Field(description="Evidence for the decision.")


class ReleaseList(BaseModel):
    """All releases and the promotion ledger, newest first."""

    items: list[ReleaseOut]
    ledger: list[PromotionOut]


class PromoteRequest(Body):
    """The reason for a promotion or rollback."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]
