"""The audit log: who did what to whom, from where, when. Entries are chained by their hashes.

    python -m gateway.audit verify      walks the chain and says where it was broken

An entry's hash covers its content and the hash of the one before, so an entry that was changed or
taken out breaks the chain. What was cut off at the end shows only against a hash that was noted
elsewhere: each entry is logged with its own, and `verify --last HASH` compares.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.identity.principal import Origin
from gateway.web.paging import fetch_page
from shared.db.models import AuditEntry, now
from shared.db.session import take_turns

log = structlog.get_logger(__name__)

#: What the first entry follows.
NOTHING = "0" * 64
#: What is written when somebody has signed in.
SIGNED_IN = "session.start"
#: Entries read at once.
BATCH = 1_000


def record(
    session: Session,
    origin: Origin,
    action: str,
    *,
    actor: str,
    target: str | None = None,
    **details: Any,
) -> None:
    """Add an entry to the transaction: it is kept if what it tells of is kept.

    Args:
        session: Its transaction writes what is recorded.
        origin: From where the request came.
        action: Noun and verb, such as `user.create`.
        actor: The username of who did it, or that was tried.
        target: Whom or what it was done to.
        details: What else is to be known; never a secret.
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
        address=origin.address,
        trace_id=origin.trace_id,
        details=details,
        previous_hash=last.hash if last else NOTHING,
    )
    entry.hash = hash_of(entry)
    session.add(entry)
    session.flush()
    log.info("audit", number=entry.number, action=action, actor=actor, hash=entry.hash)


def hash_of(entry: AuditEntry) -> str:
    """SHA-256 over an entry's content and the hash of the one before."""
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


def page(
    session: Session, *, before: int | None, limit: int, actor: str | None, action: str | None
) -> tuple[Sequence[AuditEntry], int | None]:
    """Return entries, newest first, and the `before` of the next page."""
    query = select(AuditEntry).order_by(AuditEntry.number.desc())
    if before is not None:
        query = query.where(AuditEntry.number < before)
    if actor is not None:
        query = query.where(AuditEntry.actor == actor)
    if action is not None:
        query = query.where(AuditEntry.action == action)
    rows, has_more = fetch_page(session, query, limit)
    found = [entry for (entry,) in rows]
    return found, found[-1].number if has_more else None


def entries(session: Session) -> Iterator[AuditEntry]:
    """All entries, oldest first, a batch at a time."""
    after = 0
    while True:
        found = session.scalars(
            select(AuditEntry)
            .where(AuditEntry.number > after)
            .order_by(AuditEntry.number)
            .limit(BATCH)
        ).all()
        yield from found
        if len(found) < BATCH:
            return
        after = found[-1].number
        session.expunge_all()


def has_signed_in(session: Session, username: str, address: str, days: int) -> bool:
    """Whether an account's owner has signed in from an address within some days."""
    query = select(AuditEntry.number).where(
        AuditEntry.actor == username,
        AuditEntry.action == SIGNED_IN,
        AuditEntry.address == address,
        AuditEntry.at > now() - timedelta(days=days),
    )
    return session.scalar(query.limit(1)) is not None


@dataclass(frozen=True)
class Verdict:
    """What a walk along the chain found.

    Attributes:
        fault: The first thing that is wrong, or `None`.
        last_hash: Of the last entry; note it elsewhere.
    """

    entries: int
    fault: str | None
    last_hash: str


def verify(session: Session, last_hash: str | None = None) -> Verdict:
    """Walk along the chain.

    Args:
        session: Reads.
        last_hash: The hash of an entry that was noted before; it must be in the chain.
    """
    count, previous = 0, NOTHING
    is_seen = last_hash in (None, NOTHING)
    for entry in entries(session):
        if entry.number != count + 1:
            return Verdict(count, f"entry {count + 1} is missing", previous)
        if entry.previous_hash != previous:
            return Verdict(count, f"entry {entry.number} does not follow the one before", previous)
        if hash_of(entry) != entry.hash:
            return Verdict(count, f"entry {entry.number} was changed", previous)
        count, previous = entry.number, entry.hash
        is_seen = is_seen or previous == last_hash
    fault = None if is_seen else f"no entry has the hash {last_hash}: the end was cut off"
    return Verdict(count, fault, previous)
