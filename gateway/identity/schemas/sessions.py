"""Request and response bodies of tokens and sessions."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, Field

from gateway.web.schemas import Body
from shared.db.models import LoginSession


class TokenPair(BaseModel):
    """An access token and a single-use refresh token."""

    access_token: str = Field(
        description="Token that authenticates requests: `Authorization: Bearer …`."
    )
    refresh_token: str = Field(description="Valid once, with `POST /v1/token/refresh`.")
    token_type: Literal["bearer"] = Field(
        default="bearer", description="Type of the access token (RFC 6750)."
    )
    expires_in: int = Field(description="Seconds until the access token expires.")


class RefreshRequest(Body):
    """A refresh token to exchange for new tokens."""

    refresh_token: str = Field(description="The latest refresh token of the session.")


class SessionOut(BaseModel):
    """A signed-in session."""

    id: str = Field(description="ID of the session, a UUID, with which it is ended.")
    created_at: datetime = Field(description="Time of the sign-in, in UTC.")
    refreshed_at: datetime | None = Field(
        description="Time of the last refresh, in UTC; `null` before the first one."
    )
    expires_at: datetime = Field(description="Time of expiry unless it is refreshed before.")
    address: str | None = Field(description="Address of the client at sign-in; `null` without one.")
    agent: str | None = Field(
        description="`User-Agent` of the client at sign-in; `null` without one."
    )
    is_current: bool = Field(description="True for the session of this request.")


class SessionList(BaseModel):
    """The sessions of a user, newest first."""

    items: list[SessionOut] = Field(description="The sessions that have not ended.")

    @classmethod
    def of(cls, logins: Iterable[LoginSession], current_id: str) -> Self:
        """Return the list of stored sessions; `current_id` is the session of the request."""
        return cls(
            items=[
                SessionOut(
                    id=login.id,
                    created_at=login.created_at,
                    refreshed_at=login.refreshed_at,
                    expires_at=login.expires_at,
                    address=login.address,
                    agent=login.agent,
                    is_current=login.id == current_id,
                )
                for login in logins
            ]
        )
