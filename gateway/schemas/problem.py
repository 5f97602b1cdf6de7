"""Errors."""

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why a request was not answered as it was meant (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = Field(
        default=[],
        description="`field` and `message` of each field at fault, of the first hundred if there "
        "are more; `detail` says how many more.",
    )
