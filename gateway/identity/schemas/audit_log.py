"""Response bodies of the audit log."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class AuditEntryOut(BaseModel):
    """An entry of the audit log: an actor, an action and its target, an address and a time."""

    number: int = Field(description="Position in the log, without gaps, starting at 1.")
    at: datetime
    actor: str = Field(description="Username, or the name of a program.")
    action: str = Field(description="Noun and verb, such as `user.create`.")
    target: str | None = Field(description="Name or ID of the changed object.")
    address: str | None = Field(description="Address of the client.")
    trace_id: str
    details: dict[str, Any]
    previous_hash: str = Field(description="`hash` of the previous entry.")
    hash: str = Field(description="SHA-256 of this entry and `previous_hash`.")


class AuditPage(BaseModel):
    """A page of the audit log, newest first."""

    items: list[AuditEntryOut]
    next_cursor: str | None
