"""Tokens and signed-in sessions."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from gateway.web.schemas import Body


class TokenPair(BaseModel):
    """An access token, and a refresh token that is valid once."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name
    expires_in: int = Field(description="Seconds until the access token ends.")


class RefreshRequest(Body):
    """Trade a refresh token for new tokens."""

    refresh_token: str


class SessionOut(BaseModel):
    """One of one's own signed-in sessions."""

    id: str
    created_at: datetime
    refreshed_at: datetime | None
    expires_at: datetime
    address: str | None
    agent: str | None
    is_current: bool


class SessionList(BaseModel):
    """One's own sessions, newest first."""

    items: list[SessionOut]
