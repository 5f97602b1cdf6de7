"""Bodies of releases, categories and the promotion ledger."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body


class CategoryOut(BaseModel):
    """Category that the release can predict."""

    prdtypecode: int
    category: str


class CategoryList(BaseModel):
    """Categories of a release."""

    release: str
    items: list[CategoryOut]


class ReleaseOut(BaseModel):
    """Release of the models."""

    version: str
    aliases: list[str]
    created_at: datetime
    description: str
    figures: dict[str, float]
    rejected: str | None = Field(description="Reason why it may never serve.")


class PromotionOut(BaseModel):
    """Entry of the promotion ledger."""

    promoted_at: datetime
    version: str
    previous_version: str | None
    promoted_by: str
    reason: str
    figures: dict[str, Any]


class ReleaseList(BaseModel):
    """Releases, newest first, and the promotion ledger."""

    items: list[ReleaseOut]
    ledger: list[PromotionOut]


class PromoteRequest(Body):
    """Reason of a decision."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]
