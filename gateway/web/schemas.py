"""Schemas that all areas share: the base of request bodies and the problem document."""

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    """Base of request bodies. Rejects unknown fields, so that a misspelt one is not ignored."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Why a request failed, as a problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = Field(
        default=[],
        description="`field` and `message` of each invalid field: the first hundred at most. "
        "`detail` gives the number of the others.",
    )
