"""Schemas that all areas share: the base of request bodies and the problem document."""

from pydantic import BaseModel, ConfigDict, Field

from gateway.web.texts import StorableBody


class Body(StorableBody):
    """Base of request bodies. Rejects unknown fields, so that a misspelt one is not ignored."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """A problem document (RFC 9457) with the reason of a failed request."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = Field(
        default=[],
        description="The `field` and `message` of each invalid field, at most 100. "
        "`detail` states the number of further ones.",
    )
