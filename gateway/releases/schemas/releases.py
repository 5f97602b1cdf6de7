"""Releases, what they can predict, and who promoted which."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body


class CategoryOut(BaseModel):
    """A category that can be predicted."""

    prdtypecode: int
    category: str


class CategoryList(BaseModel):
    """What a release can predict."""

    release: str
    items: list[CategoryOut]


class ReleaseOut(BaseModel):
    """One release of the models."""

    version: str
    aliases: list[str]
    created_at: datetime
    description: str
    figures: dict[str, float]
    rejected: str | None = Field(description="Why it may never serve.")


class PromotionOut(BaseModel):
    """One line of the ledger."""

    promoted_at: datetime
    version: str
    previous_version: str | None
    promoted_by: str
    reason: str
    figures: dict[str, Any]


class ReleaseList(BaseModel):
    """Releases, newest first, and who promoted which, when and why."""

    items: list[ReleaseOut]
    ledger: list[PromotionOut]


class PromoteRequest(Body):
    """Why a person decides."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]
