"""Request and response bodies of tokens and sessions."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from gateway.web.schemas import Body


class TokenPair(BaseModel):
    """An access token and a single-use refresh token."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name
    expires_in: int = Field(description="Seconds until the access token expires.")


class RefreshRequest(Body):
    """A refresh token to exchange for new tokens."""

    refresh_token: str


class SessionOut(BaseModel):
    """A signed-in session of the caller."""

    id: str
    created_at: datetime
    refreshed_at: datetime | None
    expires_at: datetime
    address: str | None
    agent: str | None
    is_current: bool


class SessionList(BaseModel):
    """The sessions of the caller, newest first."""

    items: list[SessionOut]
