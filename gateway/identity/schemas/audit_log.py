"""The audit log."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class AuditEntryOut(BaseModel):
    """Who did what to whom, from where, when."""

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
    """Entries of the audit log, newest first."""

    items: list[AuditEntryOut]
    next_cursor: str | None
