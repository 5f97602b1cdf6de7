"""Append-only audit log, whose entries are chained by hashes.

`gateway.identity.audit_log` records the actions of requests, and verifies the chain.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import AuditEntry, now
from shared.db.session import take_turns

log = structlog.get_logger(__name__)

#: `previous_hash` of the first entry.
FIRST_PREVIOUS_HASH = "0" * 64


def append_entry(
    session: Session,
    action: str,
    *,
    actor: str,
    target: str | None,
    address: str | None,
    trace_id: str,
    details: Mapping[str, Any],
) -> None:
    """Append an entry in the transaction of the recorded change, so that both commit or neither.

    Args:
        session: The database session of the recorded change.
        action: Noun and verb, such as `user.create`.
        actor: Username, or name of the program that acts by itself.
        target: The account or object of the action.
        address: Network address of the request; `None` without one.
        trace_id: Trace of the request or message.
        details: Further fields. They must not hold secrets.
    """
    take_turns(session, "audit_log")
    last = session.execute(
        select(AuditEntry.number, AuditEntry.hash).order_by(AuditEntry.number.desc()).limit(1)
    ).one_or_none()
    entry = AuditEntry(
        number=last.number + 1 if last else 1,
        at=now(),
        actor=actor,
        action=action,
        target=target,
        address=address,
        trace_id=trace_id,
        details=dict(details),
        previous_hash=last.hash if last else FIRST_PREVIOUS_HASH,
    )
    entry.hash = hash_of(entry)
    session.add(entry)
    session.flush()
    log.info("audit_entry_added", number=entry.number, action=action, actor=actor, hash=entry.hash)


def hash_of(entry: AuditEntry) -> str:
    """Return the SHA-256 of the content of an entry and the hash of the previous one."""
    content = json.dumps(
        {
            "number": entry.number,
            "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "actor": entry.actor,
            "action": entry.action,
            "target": entry.target,
            "address": entry.address,
            "trace_id": entry.trace_id,
            "details": entry.details,
            "previous_hash": entry.previous_hash,
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(content.encode()).hexdigest()
