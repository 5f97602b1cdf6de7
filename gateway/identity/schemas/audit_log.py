"""Response bodies of the audit log."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from gateway.web.schemas import NextCursor


class AuditEntryOut(BaseModel):
    """An entry of the audit log: an actor, an action and its target, an address and a time."""

    number: int = Field(description="Position in the log, without gaps, starting at 1.")
    at: datetime = Field(description="Time of the action, in UTC.")
    actor: str = Field(description="Username, or the name of a program.")
    action: str = Field(description="Noun and verb, such as `user.create`.")
    target: str | None = Field(description="Name or ID of the changed object; `null` without one.")
    address: str | None = Field(description="Address of the client; `null` without one.")
    trace_id: str = Field(
        description="ID of the trace of the request: 32 hexadecimal digits, sent as `X-Request-ID`."
    )
    details: dict[str, Any] = Field(
        description="Further facts of the action, by name; the names depend on the action."
    )
    previous_hash: str = Field(description="`hash` of the previous entry.")
    hash: str = Field(description="SHA-256 of this entry and `previous_hash`.")


class AuditPage(BaseModel):
    """A page of the audit log, newest first."""

    items: list[AuditEntryOut] = Field(description="The entries of the page.")
    next_cursor: NextCursor


class AuditVerification(BaseModel):
    """Result of verifying the hashes of the audit log."""

    entries: int = Field(description="Number of entries up to the fault, or of all entries.")
    fault: str | None = Field(description="Sentence about the first fault; `null` without one.")
    last_hash: str = Field(description="Hash of the last valid entry.")
