"""Catalog leases in the database: one feeder at a time processes a catalog."""

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_, update
from sqlalchemy.orm import Session

from gateway.catalogs.admission import UNFINISHED
from shared.db.models import Catalog, CatalogStatus, now
from shared.db.session import UnitOfWork


class LeaseLost(Exception):
    """The catalog was cancelled, or another feeder holds its lease."""


@dataclass(frozen=True)
class CatalogLeases:
    """Acquire and renew leases, and change catalogs only while their lease is held.

    Attributes:
        unit_of_work: Opens transactions.
        seconds: Lifetime of a lease.
        owner: Name of this process in the database: its host and process ID.
    """

    unit_of_work: UnitOfWork
    seconds: float
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")

    def may_take(self, catalog: Catalog) -> bool:
        """Return True unless another feeder holds an unexpired lease."""
        is_expired = catalog.leased_until is None or catalog.leased_until < now()
        return is_expired or catalog.leased_by == self.owner

    def take(self, catalog_id: str) -> bool:
        """Acquire or renew a lease; return True on success."""
        moment = now()
        free = or_(
            Catalog.leased_by == self.owner,
            Catalog.leased_until.is_(None),
            Catalog.leased_until < moment,
        )
        until = moment + timedelta(seconds=self.seconds)
        with self.unit_of_work() as work:
            return _update(
                work.session,
                [Catalog.id == catalog_id, Catalog.status.in_(UNFINISHED), free],
                {"leased_by": self.owner, "leased_until": until},
            )

    def change(
        self, session: Session, catalog_id: str, status: CatalogStatus, values: dict[str, Any]
    ) -> None:
        """Change a catalog whose lease is held and whose status is `status`. Raises `LeaseLost`."""
        if "finished_at" in values:
            values = {**values, "leased_by": None, "leased_until": None}
        held = [
            Catalog.id == catalog_id,
            Catalog.status == status.value,
            Catalog.leased_by == self.owner,
        ]
        if not _update(session, held, values):
            raise LeaseLost

    def give_back(self, ids: Collection[str]) -> None:
        """Release leases, so that other feeders can take the catalogs at once.

        Raises:
            Unavailable: The database does not answer.
        """
        held = [Catalog.id.in_(ids), Catalog.leased_by == self.owner]
        with self.unit_of_work() as work:
            _update(work.session, held, {"leased_by": None, "leased_until": None})


def _update(
    session: Session, conditions: list[ColumnElement[bool]], values: dict[str, Any]
) -> bool:
    """Update the catalogs that meet all conditions; return True if there were any."""
    changed = session.scalars(
        update(Catalog)
        .where(*conditions)
        .values(**values)
        .returning(Catalog.id)
        .execution_options(synchronize_session=False)
    )
    return bool(changed.all())
