"""Who works on a catalog: one feeder at a time, by a lease in the database."""

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_, update
from sqlalchemy.orm import Session

from gateway.catalogs.service import UNFINISHED
from shared.db.models import Catalog, CatalogStatus, now
from shared.db.session import UnitOfWork


class LeaseLost(Exception):
    """The catalog was cancelled, or another feeder has it."""


@dataclass(frozen=True)
class CatalogLeases:
    """Takes and keeps catalogs; every change of one asks whether it is still ours."""

    unit_of_work: UnitOfWork
    seconds: float
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")

    def may_take(self, catalog: Catalog) -> bool:
        """Whether nobody else has it."""
        is_over = catalog.leased_until is None or catalog.leased_until < now()
        return is_over or catalog.leased_by == self.owner

    def take(self, catalog_id: str) -> bool:
        """Take a catalog, or keep it for longer; returns whether it is ours."""
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
        """Change a catalog that is ours and has a status. Raises `LeaseLost`."""
        if "finished_at" in values:
            values = {**values, "leased_by": None, "leased_until": None}
        ours = [
            Catalog.id == catalog_id,
            Catalog.status == status.value,
            Catalog.leased_by == self.owner,
        ]
        if not _update(session, ours, values):
            raise LeaseLost

    def give_back(self, ids: Collection[str]) -> None:
        """Let others have catalogs at once. Raises `Unavailable`."""
        ours = [Catalog.id.in_(ids), Catalog.leased_by == self.owner]
        with self.unit_of_work() as work:
            _update(work.session, ours, {"leased_by": None, "leased_until": None})


def _update(
    session: Session, conditions: list[ColumnElement[bool]], values: dict[str, Any]
) -> bool:
    changed = session.scalars(
        update(Catalog)
        .where(*conditions)
        .values(**values)
        .returning(Catalog.id)
        .execution_options(synchronize_session=False)
    )
    return bool(changed.all())
