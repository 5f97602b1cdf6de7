"""Progress of running catalogs: rows that are queued, rows per second, and completion."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from gateway.catalogs.counting import counts
from gateway.catalogs.files import CatalogFiles
from gateway.catalogs.held_catalogs import HeldCatalogs
from gateway.catalogs.leases import CatalogLeases
from gateway.catalogs.slices import RowCounts
from shared.db.leases import LeaseLost
from shared.db.models import NOT_DONE, Catalog, CatalogStatus, Job, JobStatus, now
from shared.db.session import UnitOfWork

log = structlog.get_logger(__name__)

#: Seconds over which the rate is measured, and seconds between two records of it.
RATE_SECONDS = 15.0
RECORD_SECONDS = 1.0
#: Number of queued rows by catalog and input. The feeder asks twenty times a second; building the
#: statement takes longer than executing it.
_QUEUED = (
    select(Job.catalog_id, Job.wants_image, func.count())
    .where(
        Job.catalog_id.in_(bindparam("ids", expanding=True)),
        NOT_DONE,
        Job.status == JobStatus.QUEUED.value,
    )
    .group_by(Job.catalog_id, Job.wants_image)
)


@dataclass(frozen=True)
class Progress:
    """Record the rate of running catalogs, and finish those whose last row is answered."""

    unit_of_work: UnitOfWork
    leases: CatalogLeases
    files: CatalogFiles
    held: HeldCatalogs

    def finish(self, catalog: Catalog) -> None:
        """Mark a catalog as finished and remove its image archive.

        A catalog fails if its rows were not all rejected or fed, which would be a defect or a
        changed file: rows must never be lost without a word.
        """
        finished_at = now()
        with self.unit_of_work.reading() as session:
            done = counts(session, [catalog])[catalog.id].done
        seconds = (finished_at - (catalog.started_at or catalog.created_at)).total_seconds()
        values = {
            "status": CatalogStatus.FINISHED.value,
            "finished_at": finished_at,
            "rows_per_second": done / max(seconds, 0.001),
            **_lost(catalog),
        }
        try:
            with self.unit_of_work() as work:
                _require_no_repairs(work.session, catalog.id)
                self.leases.change(work.session, catalog.id, CatalogStatus.RUNNING, values)
                work.announce([catalog.id])
        except LeaseLost:
            return
        finally:
            self.held.drop(catalog.id)
        self.files.remove_images(catalog.id)
        log.info("catalog_finished", catalog=catalog.id, done=done, seconds=round(seconds, 3))

    def record_rate(self, catalog: Catalog) -> None:
        """Write the current rate to the database, at most once every `RECORD_SECONDS`."""
        held, moment = self.held.get(catalog.id), time.monotonic()
        if held is None or moment - held.rate_recorded_at < RECORD_SECONDS:
            return
        held.rate_recorded_at = moment
        with self.unit_of_work() as work:
            counted = counts(work.session, [catalog])[catalog.id]
            rate = _rate(held.answered, moment, counted.done + counted.failed)
            if rate is not None:
                work.session.execute(
                    update(Catalog).where(Catalog.id == catalog.id).values(rows_per_second=rate)
                )


def queued_rows(session: Session, catalogs: Sequence[Catalog]) -> dict[str, RowCounts]:
    """Count the queued rows of catalogs; a catalog without any is left out."""
    found: dict[str, RowCounts] = {}
    ids = [catalog.id for catalog in catalogs]
    rows_by_input = session.connection().execute(_QUEUED, {"ids": ids})
    for catalog_id, has_image, count in rows_by_input:
        rows = found.get(str(catalog_id), RowCounts(0, 0))
        found[str(catalog_id)] = (
            rows._replace(images=count) if has_image else rows._replace(texts=count)
        )
    return found


def _require_no_repairs(session: Session, catalog_id: str) -> None:
    """Raise `LeaseLost` if somebody has sent repaired rows since the catalog was read."""
    query = select(Catalog.repaired_until).where(Catalog.id == catalog_id).with_for_update()
    if session.scalar(query) is not None:
        raise LeaseLost


def _lost(catalog: Catalog) -> dict[str, str]:
    """Return the column values that record lost rows; empty if there are none."""
    expected = catalog.rows - catalog.rejected
    if catalog.fed == expected:
        return {}
    log.error("catalog_rows_differ", catalog=catalog.id, expected=expected, fed=catalog.fed)
    return {
        "status": CatalogStatus.FAILED.value,
        "error_code": "rows_differ",
        "error_message": f"Expected {expected} rows with jobs. Received: {catalog.fed}. "
        "Send the catalog again",
    }


def _rate(answered: deque[tuple[float, int]], moment: float, rows: int) -> float | None:
    """Return the rows answered per second over the last seconds; `None` if there were none."""
    answered.append((moment, rows))
    while len(answered) > 2 and moment - answered[0][0] > RATE_SECONDS:
        answered.popleft()
    begin, before = answered[0]
    return (rows - before) / (moment - begin) if rows > before else None
