"""API keys."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, Field

from gateway.identity.scopes import Scope
from gateway.web.schemas import Body


class ApiKeyCreate(Body):
    """A new API key."""

    name: str = Field(min_length=1, max_length=64, description="What it is for.")
    scopes: list[Scope] = Field(min_length=1)
    expires_at: AwareDatetime | None = None


class ApiKeyOut(BaseModel):
    """One of one's own API keys."""

    id: str
    name: str
    prefix: str = Field(description="How the key begins.")
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class ApiKeyCreated(ApiKeyOut):
    """A new API key."""

    key: str = Field(description="Shown once; send it as `X-API-Key`.")


class ApiKeyList(BaseModel):
    """One's own API keys, newest first."""

    items: list[ApiKeyOut]
