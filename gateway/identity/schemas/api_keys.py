"""Request and response bodies of API keys."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, Field

from gateway.identity.scopes import Scope
from gateway.web.schemas import Body


class ApiKeyCreate(Body):
    """Name, scopes and expiry of a new API key."""

    name: str = Field(
        min_length=1, max_length=64, description="A name that tells the purpose of the key."
    )
    scopes: list[Scope] = Field(min_length=1)
    expires_at: AwareDatetime | None = None


class ApiKeyOut(BaseModel):
    """An API key of the caller."""

    id: str
    name: str
    prefix: str = Field(description="The first characters of the key.")
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Time of the last use, accurate to a minute.")


class ApiKeyCreated(ApiKeyOut):
    """A new API key, with its secret value."""

    key: str = Field(
        description="The secret value. Shown only in this response. Send it as `X-API-Key`."
    )


class ApiKeyList(BaseModel):
    """The API keys of the caller, newest first."""

    items: list[ApiKeyOut]
