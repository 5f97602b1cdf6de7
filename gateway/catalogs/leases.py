"""Catalog leases in the database: one feeder at a time processes a catalog."""

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from gateway.catalogs.admission import UNFINISHED
from shared.db.leases import LeaseLost, Owner, RowLeases, has_ended
from shared.db.models import Catalog, CatalogStatus
from shared.db.session import UnitOfWork


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
        duration = timedelta(seconds=self.seconds)
        return has_ended(catalog.leased_until, duration) or catalog.leased_by == self.owner

    def take(self, catalog_id: str) -> bool:
        """Acquire or renew a lease; return True on success."""
        with self.unit_of_work() as work:
            unfinished = Catalog.status.in_(UNFINISHED)
            return self._rows.claim(work.session, Catalog.id == catalog_id, unfinished)

    def change(
        self, session: Session, catalog_id: str, status: CatalogStatus, values: dict[str, Any]
    ) -> None:
        """Change a catalog whose lease is held and whose status is `status`. Raises `LeaseLost`."""
        change = self._rows.release if "finished_at" in values else self._rows.change
        is_there = Catalog.id == catalog_id, Catalog.status == status.value
        if not change(session, *is_there, **values):
            raise LeaseLost

    def give_back(self, ids: Collection[str]) -> None:
        """Release leases, so that other feeders can take the catalogs at once.

        Raises:
            Unavailable: The database does not answer.
        """
        with self.unit_of_work() as work:
            self._rows.release(work.session, Catalog.id.in_(ids))

    @property
    def _rows(self) -> RowLeases:
        owner = Owner(Catalog.leased_by, self.owner)
        return RowLeases(Catalog.leased_until, timedelta(seconds=self.seconds), owner)
