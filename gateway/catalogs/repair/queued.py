"""Repaired rows that wait for the feeder: count them, and release them when a catalog ends."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from shared.db.models import (
    Catalog,
    CatalogRowRepair,
    Job,
    JobStatus,
    RepairStatus,
    row_job_id,
)

#: Status of rows without a job, in counts beside the statuses of jobs.
REJECTED = "rejected"
#: Jobs that one query looks up.
BATCH = 500


def queued_repairs(catalog_id: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that select the repairs that the feeder has not reached."""
    return (
        CatalogRowRepair.catalog_id == catalog_id,
        CatalogRowRepair.status == RepairStatus.QUEUED.value,
    )


def waiting(session: Session, catalog: Catalog) -> Counter[str]:
    """Count the queued repairs by the status of their jobs; `rejected` for rows without one."""
    if catalog.repaired_until is None:
        return Counter()
    has_no_job = (CatalogRowRepair.code != "") & ~CatalogRowRepair.is_joined
    new = select(func.count()).where(*queued_repairs(catalog.id), has_no_job)
    found = Counter({REJECTED: session.scalar(new) or 0})
    again = select(CatalogRowRepair.row).where(*queued_repairs(catalog.id), ~has_no_job)
    ids = [row_job_id(catalog.id, row) for row in session.scalars(again)]
    first = row_job_id(catalog.id, catalog.fed_until)
    for status, some in statuses(session, ids).items():
        # Cancelled rows that the feeder has yet to reach again are counted as waiting already.
        is_cancelled = status == JobStatus.CANCELLED.value
        found[status] = sum(not is_cancelled or job_id <= first for job_id in some)
    return found


def repairs_between(
    session: Session, catalog: Catalog, first: int, last: int
) -> dict[int, CatalogRowRepair]:
    """Return the repairs of some rows that a run includes or has included, by row."""
    is_queued = CatalogRowRepair.status == RepairStatus.QUEUED.value
    is_run = catalog.repaired_until is not None
    query = select(CatalogRowRepair).where(
        CatalogRowRepair.catalog_id == catalog.id,
        CatalogRowRepair.row.between(first, last),
        or_(CatalogRowRepair.is_joined, is_queued) if is_run else CatalogRowRepair.is_joined,
    )
    return {one.row: one for one in session.scalars(query)}


def release(session: Session, catalog_id: str) -> None:
    """Make the queued repairs of a catalog that ends ready for a later run."""
    session.execute(
        update(CatalogRowRepair)
        .where(*queued_repairs(catalog_id))
        .values(status=RepairStatus.DRAFT.value, is_ready=True)
        .execution_options(synchronize_session=False)
    )


def statuses(session: Session, job_ids: Sequence[str]) -> Mapping[str, list[str]]:
    """Return IDs of jobs by their status."""
    found: dict[str, list[str]] = defaultdict(list)
    for start in range(0, len(job_ids), BATCH):
        some = job_ids[start : start + BATCH]
        for job_id, status in session.execute(select(Job.id, Job.status).where(Job.id.in_(some))):
            found[status].append(job_id)
    return found
