"""Schemas that all areas share: the base of request bodies and the problem document."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.web.texts import StorableBody

NextCursor = Annotated[
    str | None, Field(description="`cursor` of the next page; `null` on the last page.")
]
#: Reason that a person states for a decision.
Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=500),
    Field(description="Reason, 1 to 500 characters. It is stored with the decision."),
]


class Body(StorableBody):
    """Base of request bodies. Rejects unknown fields, so that a misspelt one is not ignored."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """A problem document (RFC 9457) with the reason of a failed request."""

    type: str = Field(
        description="`urn:rayon:problem:` and a stable code, such as `not_found`, or `about:blank` "
        "if the status says all."
    )
    title: str = Field(description="Short name of the kind of problem.")
    status: int = Field(description="Status code of the response.")
    detail: str = Field(
        description="Sentence about this request: what was expected and what was received."
    )
    errors: list[dict[str, str]] = Field(
        default=[],
        description="The `field` and `message` of each invalid field, at most 100. "
        "`detail` states the number of further ones.",
    )
