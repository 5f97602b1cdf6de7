"""Append-only audit log of security events, chained by hashes.

    python -m gateway.audit verify      verifies the chain and reports where it is broken

The hash of an entry covers its content and the hash of the previous entry, so a changed or removed
entry breaks the chain. Entries removed from the end are detected only with a hash that was stored
elsewhere: the service log holds the hash of each entry, and `verify --last HASH` compares it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from gateway.identity.principal import Origin
from gateway.web.paging import fetch_page
from shared.db.models import AuditEntry, now
from shared.lifecycle.audit import FIRST_PREVIOUS_HASH, append_entry, hash_of

#: Action of a successful sign-in.
SIGNED_IN = "session.start"
#: Entries read with one query.
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
    """Add an entry in the transaction of the recorded change, so that both commit or neither.

    Args:
        session: The database session of the recorded change.
        origin: Origin of the request.
        action: Noun and verb, such as `user.create`.
        actor: Username of the caller, or the username of a failed sign-in.
        target: The account or object of the action.
        details: Further fields. They must not hold secrets.
    """
    append_entry(
        session,
        action,
        actor=actor,
        target=target,
        address=origin.address,
        trace_id=origin.trace_id,
        details=details,
    )


@dataclass(frozen=True)
class Wanted:
    """Entries to list; `None` stands for all.

    Attributes:
        actor: Username, or name of a program.
        action: Action, such as `user.create`.
        target: Name or ID of the changed object.
        since: Time of the first entry.
        until: Time before which the last entry was made.
    """

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield the conditions of a query."""
        for name in ("actor", "action", "target"):
            if (value := getattr(self, name)) is not None:
                yield getattr(AuditEntry, name) == value
        if self.since is not None:
            yield AuditEntry.at >= self.since
        if self.until is not None:
            yield AuditEntry.at < self.until


def page(
    session: Session, *, before: int | None, limit: int, wanted: Wanted
) -> tuple[Sequence[AuditEntry], int | None]:
    """Return a page of entries, newest first, and `before` for the next page."""
    query = select(AuditEntry).where(*wanted.conditions()).order_by(AuditEntry.number.desc())
    if before is not None:
        query = query.where(AuditEntry.number < before)
    rows, has_more = fetch_page(session, query, limit)
    page_entries = [entry for (entry,) in rows]
    return page_entries, page_entries[-1].number if has_more else None


def entries(session: Session) -> Iterator[AuditEntry]:
    """Yield all entries, oldest first. Reads them in batches."""
    after = 0
    while True:
        batch = session.scalars(
            select(AuditEntry)
            .where(AuditEntry.number > after)
            .order_by(AuditEntry.number)
            .limit(BATCH)
        ).all()
        yield from batch
        if len(batch) < BATCH:
            return
        after = batch[-1].number
        session.expunge_all()


def has_signed_in(session: Session, username: str, address: str, days: int) -> bool:
    """Return True if an account has signed in from an address within the given days."""
    query = select(AuditEntry.number).where(
        AuditEntry.actor == username,
        AuditEntry.action == SIGNED_IN,
        AuditEntry.address == address,
        AuditEntry.at > now() - timedelta(days=days),
    )
    return session.scalar(query.limit(1)) is not None


@dataclass(frozen=True)
class Verdict:
    """Result of verifying the chain.

    Attributes:
        entries: Number of entries up to the fault, or of all entries.
        fault: The first fault, or `None`.
        last_hash: Hash of the last valid entry. Store it outside of the database.
    """

    entries: int
    fault: str | None
    last_hash: str


def verify(session: Session, last_hash: str | None = None) -> Verdict:
    """Verify the chain of all entries.

    Args:
        session: The database session.
        last_hash: Hash of an earlier entry, stored elsewhere, that must be in the chain.
    """
    count, previous = 0, FIRST_PREVIOUS_HASH
    is_seen = last_hash in (None, FIRST_PREVIOUS_HASH)
    for entry in entries(session):
        if entry.number != count + 1:
            return Verdict(count, f"entry {count + 1} is missing", previous)
        if entry.previous_hash != previous:
            return Verdict(
                count, f"entry {entry.number} does not follow the previous one", previous
            )
        if hash_of(entry) != entry.hash:
            return Verdict(count, f"entry {entry.number} was changed", previous)
        count, previous = entry.number, entry.hash
        is_seen = is_seen or previous == last_hash
    fault = None if is_seen else f"no entry has the hash {last_hash}: the end of the log is missing"
    return Verdict(count, fault, previous)
