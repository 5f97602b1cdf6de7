"""Numbers of a catalog's rows by status, and the time that is left."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from gateway.catalogs.admission import UNFINISHED
from gateway.catalogs.repair import queued
from shared.db.models import NOT_DONE, Catalog, CatalogStatus, Job, JobStatus, row_job_id


@dataclass(frozen=True)
class Counts:
    """Number of a catalog's rows by status; `queued` rows have no answer yet."""

    rows: int
    rejected: int
    queued: int
    done: int
    failed: int
    cancelled: int


def counts(session: Session, catalogs: Sequence[Catalog]) -> dict[str, Counts]:
    """Count the rows of catalogs; the cost grows with the rows that are not done."""
    found: Counter[tuple[str, str]] = Counter()
    query = (
        select(Job.catalog_id, Job.status, func.count())
        .where(
            Job.catalog_id.in_([catalog.id for catalog in catalogs]),
            NOT_DONE,
        )
        .group_by(Job.catalog_id, Job.status)
    )
    for catalog_id, status, count in session.execute(query):
        found[(str(catalog_id), status)] = count
    for catalog in catalogs:
        waiting = _waiting_again(session, catalog, found)
        found[(catalog.id, JobStatus.CANCELLED.value)] -= waiting
        found[(catalog.id, JobStatus.QUEUED.value)] += waiting
        _count_repairs(session, catalog, found)
    return {catalog.id: _counts(catalog, found) for catalog in catalogs}


def _count_repairs(session: Session, catalog: Catalog, found: Counter[tuple[str, str]]) -> None:
    """Count the repaired rows that the feeder has not reached as queued."""
    for status, count in queued.waiting(session, catalog).items():
        found[(catalog.id, status)] -= count
        if status != queued.REJECTED:
            found[(catalog.id, JobStatus.QUEUED.value)] += count


def eta_seconds(catalog: Catalog, counted: Counts) -> float | None:
    """Estimate the seconds until the last answer; `None` while the rate is unknown."""
    if catalog.status != CatalogStatus.RUNNING.value or not catalog.rows_per_second:
        return None
    return counted.queued / catalog.rows_per_second


def _waiting_again(session: Session, catalog: Catalog, found: Mapping[tuple[str, str], int]) -> int:
    """Return the cancelled rows of a resumed catalog that the feeder has not reached again."""
    if catalog.status not in UNFINISHED or not found[(catalog.id, JobStatus.CANCELLED.value)]:
        return 0
    query = select(func.count()).where(
        Job.catalog_id == catalog.id,
        NOT_DONE,
        Job.status == JobStatus.CANCELLED.value,
        Job.id > row_job_id(catalog.id, catalog.fed_until),
    )
    return session.scalar(query) or 0


def _counts(catalog: Catalog, found: Mapping[tuple[str, str], int]) -> Counts:
    # Below zero: rejected rows that are repaired and wait for their jobs.
    repaired = -found.get((catalog.id, queued.REJECTED), 0)
    open_, failed, cancelled = (
        found.get((catalog.id, status.value), 0)
        for status in (JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELLED)
    )
    done = max(0, catalog.fed - open_ - failed - cancelled)
    waiting = 0 if catalog.dry_run else max(0, catalog.rows - catalog.rejected - catalog.fed)
    is_open = catalog.status in UNFINISHED
    return Counts(
        rows=catalog.rows,
        rejected=catalog.rejected - repaired,
        queued=open_ + repaired + (waiting if is_open else 0),
        done=done,
        failed=failed,
        cancelled=cancelled + (0 if is_open else waiting),
    )
