"""Response bodies of the audit log."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class AuditEntryOut(BaseModel):
    """An entry of the audit log: an actor, an action and its target, an address and a time."""

    number: int
    at: datetime
    actor: str
    action: str
    target: str | None
    address: str | None
    trace_id: str
    details: dict[str, Any]
    previous_hash: str
    hash: str


class AuditPage(BaseModel):
    """A page of the audit log, newest first."""

    items: list[AuditEntryOut]
    next_cursor: str | None
