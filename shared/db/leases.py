"""Leases on rows: one process at a time works on a row, until its lease expires.

Every change is one conditional update, so the check and the change cannot be separated by another
process; SQLite and PostgreSQL behave the same.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.db.models import now


def is_over(until: InstrumentedAttribute[Any], duration: timedelta) -> ColumnElement[bool]:
    """Return the condition of leases that have expired.

    A lease that would end later than twice its duration from now was granted before the clock was
    set back, and nobody would take the row for as long as the clock was set back by.

    Args:
        until: The `leased_until` column.
        duration: Lifetime of a lease. Clocks of different machines may differ by it.
    """
    return or_(until < now(), until > now() + 2 * duration)


def has_ended(until: datetime | None, duration: timedelta) -> bool:
    """Return True for no lease and for one that has expired, like `is_over`."""
    return until is None or not now() <= until <= now() + 2 * duration


class LeaseLost(Exception):
    """The row has ended, or another process holds its lease."""


@dataclass(frozen=True)
class Owner:
    """The name of this process, and the column that holds the name of the process with the lease.

    Attributes:
        column: The `leased_by` column.
        name: Value of this process; unique among all processes.
    """

    column: InstrumentedAttribute[str | None]
    name: str


@dataclass(frozen=True)
class RowLeases:
    """Claim, renew, release and change leased rows of one table, inside the caller's transaction.

    The conditions that each method takes select the rows; the lease is checked in addition. Every
    method returns True if a row met them all, or else changes nothing and returns False.

    Attributes:
        until: The `leased_until` column.
        duration: Lifetime of a lease; a process that died blocks its row for this long.
        owner: Identifies the holder. Without one, the conditions alone protect a row, and a
            process that outlived its lease is not noticed.
    """

    until: InstrumentedAttribute[Any]
    duration: timedelta
    owner: Owner | None = None

    def is_free(self) -> ColumnElement[bool]:
        """Return the condition of rows that have no lease or an expired one."""
        return or_(self.until.is_(None), is_over(self.until, self.duration))

    def claim(self, session: Session, *rows: ColumnElement[bool], **values: Any) -> bool:
        """Lease free rows, or renew leases that this process holds, and set values."""
        free = or_(self.is_free(), *self._held()) if self.owner else self.is_free()
        return self._update(session, (*rows, free), values | self._leased())

    def renew(self, session: Session, *rows: ColumnElement[bool], **values: Any) -> bool:
        """Extend a held lease by its duration from now on, and set values."""
        until = {self.until.key: now() + self.duration}
        return self._update(session, (*rows, *self._held()), values | until)

    def release(self, session: Session, *rows: ColumnElement[bool], **values: Any) -> bool:
        """End a held lease, so that another process can claim the row at once, and set values."""
        none = dict.fromkeys(self._leased())
        return self._update(session, (*rows, *self._held()), values | none)

    def change(self, session: Session, *rows: ColumnElement[bool], **values: Any) -> bool:
        """Set values of rows whose lease is held, and keep the lease."""
        return self._update(session, (*rows, *self._held()), values)

    def _held(self) -> tuple[ColumnElement[bool], ...]:
        return (self.owner.column == self.owner.name,) if self.owner else ()

    def _leased(self) -> dict[str, Any]:
        owner = {self.owner.column.key: self.owner.name} if self.owner else {}
        return owner | {self.until.key: now() + self.duration}

    def _update(
        self, session: Session, rows: tuple[ColumnElement[bool], ...], values: dict[str, Any]
    ) -> bool:
        changed = session.execute(
            update(self.until.class_)
            .where(*rows)
            .values(values)
            .returning(self.until)
            .execution_options(synchronize_session=False)
        )
        return bool(changed.all())
