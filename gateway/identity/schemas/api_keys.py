"""Request and response bodies of API keys."""

from collections.abc import Iterable
from datetime import datetime
from typing import Self

from pydantic import AwareDatetime, BaseModel, Field

from gateway.identity.scopes import Scope
from gateway.web.schemas import Body
from shared.db.models import ApiKey


class ApiKeyCreate(Body):
    """Name, scopes and expiry of a new API key."""

    name: str = Field(
        min_length=1,
        max_length=64,
        description="Purpose of the key, such as the name of the program.",
    )
    scopes: list[Scope] = Field(
        min_length=1, description="Permissions of the key, a subset of those of your role."
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="Time of expiry with a UTC offset; by default never."
    )


class ApiKeyOut(BaseModel):
    """An API key."""

    id: str = Field(description="ID of the key, a UUID, with which it is revoked.")
    name: str = Field(description="Purpose of the key, as stated when it was created.")
    prefix: str = Field(description="First characters of the key, to recognize it.")
    scopes: list[Scope] = Field(description="Permissions of the key.")
    created_at: datetime = Field(description="Time at which the key was created, in UTC.")
    expires_at: datetime | None = Field(description="Time of expiry; `null` for never.")
    last_used_at: datetime | None = Field(
        description="Time of the last use, to the minute; `null` before."
    )


class ApiKeyCreated(ApiKeyOut):
    """A new API key, with its secret value."""

    key: str = Field(
        description="The secret value. Shown only in this response. Send it as `X-API-Key`."
    )


class ApiKeyList(BaseModel):
    """The API keys of a user, newest first."""

    items: list[ApiKeyOut] = Field(description="The keys, at most 50.")

    @classmethod
    def of(cls, rows: Iterable[ApiKey]) -> Self:
        """Return the list of stored keys."""
        return cls(items=[ApiKeyOut.model_validate(row, from_attributes=True) for row in rows])
