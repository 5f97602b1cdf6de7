"""Run repaired rows: the feeder turns them into jobs, which join the catalog's other answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import delete, null, select, update
from sqlalchemy.orm import Session

from gateway.catalogs.admission import require_room
from gateway.catalogs.repair.drafts import lock
from gateway.catalogs.repair.queued import queued_repairs, statuses
from gateway.catalogs.service import find
from gateway.catalogs.slices import MISSING_IMAGE, job_values
from gateway.identity.principal import Principal
from gateway.jobs.messages import messages_of
from gateway.settings import CatalogSettings
from shared.db.models import (
    Catalog,
    CatalogRowRepair,
    CatalogStatus,
    Explanation,
    Job,
    JobStatus,
    RepairStatus,
    Score,
    row_job_id,
)
from shared.db.session import Work
from shared.errors import Conflict
from shared.readable import readable

log = structlog.get_logger(__name__)

#: Columns of a job that a restart empties, besides its result.
_OUTCOME = (
    "finished_at",
    "prdtypecode",
    "confidence",
    "is_foreign",
    "error_code",
    "error_message",
)


def run(
    session: Session, settings: CatalogSettings, principal: Principal, catalog_id: str
) -> tuple[Catalog, int]:
    """Queue the repaired rows of a catalog for the feeder, and return the number of rows.

    Repeating the request while they run changes nothing.

    Raises:
        NotFound: The user has no such catalog.
        Conflict: The catalog is neither running nor finished, or no repaired row is ready.
        Limited: The user has too many unfinished catalogs.
        Unavailable: The database does not answer, or too many rows of all users wait.
    """
    find(session, principal, catalog_id)
    catalog = lock(session, catalog_id)
    if catalog.status == CatalogStatus.CANCELLED.value:
        raise Conflict("The catalog was cancelled. Resume it first, then run repaired rows")
    if catalog.status == CatalogStatus.FINISHED.value:
        require_room(session, settings, catalog.user_id, 0)
    rows = _queue(session, catalog_id)
    if not rows and catalog.repaired_until is None:
        raise Conflict("No repaired row is ready to run")
    if rows:
        catalog.status, catalog.repaired_until = CatalogStatus.RUNNING.value, 0
        catalog.finished_at = catalog.rows_per_second = None
    log.info("repaired_rows_queued", catalog=catalog_id, rows=rows)
    return catalog, rows


def _queue(session: Session, catalog_id: str) -> int:
    queued = session.execute(
        update(CatalogRowRepair)
        .where(CatalogRowRepair.catalog_id == catalog_id, CatalogRowRepair.is_ready)
        .values(status=RepairStatus.QUEUED.value, is_ready=False)
        .returning(CatalogRowRepair.row)
        .execution_options(synchronize_session=False)
    )
    return len(queued.all())


def locked_counts(session: Session, catalog_id: str) -> tuple[int, int]:
    """Lock a catalog, and return its numbers of jobs and of rejected rows as they are now.

    The numbers that a feeder has read may be out of date if another feeder held the catalog since.
    """
    query = select(Catalog.fed, Catalog.rejected).where(Catalog.id == catalog_id)
    row = session.execute(query.with_for_update()).one()
    return row.fed, row.rejected


def next_repairs(
    session: Session, catalog_id: str, texts: int, images: int
) -> Sequence[CatalogRowRepair]:
    """Return the next queued repairs, at most `texts` rows and `images` images.

    Args:
        session: A transaction that has locked the catalog, so that nobody queues further rows
            before the end of the run is recorded.
        catalog_id: The catalog.
        texts: Most rows.
        images: Most rows with an image.
    """
    found = session.scalars(
        select(CatalogRowRepair)
        .where(*queued_repairs(catalog_id))
        .order_by(CatalogRowRepair.row)
        .limit(texts)
        .with_for_update()
    ).all()
    with_image = 0
    for count, repair in enumerate(found, start=1):
        with_image += repair.uses_image
        if with_image >= images:
            return found[:count]
    return found


def join(
    work: Work, catalog: Catalog, repairs: Sequence[CatalogRowRepair], lease_seconds: float
) -> tuple[int, int]:
    """Make jobs of repaired rows, or restart theirs, and publish the requests for their scores.

    A row gets the job ID that it would have got at once, so a row never has two jobs.

    Args:
        work: The transaction.
        catalog: The catalog.
        repairs: Queued repairs.
        lease_seconds: Seconds until the sweeper first examines a job.

    Returns:
        Number of new jobs, and number of jobs with an image.
    """
    ids = [row_job_id(catalog.id, repair.row) for repair in repairs]
    query = select(Job).where(Job.id.in_(ids)).order_by(Job.id).with_for_update()
    known = {job.id: job for job in work.session.scalars(query)}
    for kind in (Score, Explanation):
        work.session.execute(delete(kind).where(kind.job_id.in_(known)))
    jobs = []
    for repair, job_id in zip(repairs, ids, strict=True):
        values = _values(catalog, repair, lease_seconds)
        job = known.get(job_id)
        if job is None:
            job = Job(id=job_id, **values)
            work.session.add(job)
        else:
            _restart(job, values)
        jobs.append(job)
        _mark_joined(repair)
    work.session.flush()
    for message in messages_of(jobs) if jobs else ():
        work.publish(message)
    return len(jobs) - len(known), sum(job.wants_image for job in jobs)


def _values(catalog: Catalog, repair: CatalogRowRepair, lease_seconds: float) -> dict[str, Any]:
    image_uri = repair.image_uri if repair.uses_image else None
    has_text = bool(readable(repair.designation) or readable(repair.description))
    return {
        **job_values(catalog, lease_seconds),
        "designation": repair.designation,
        "description": repair.description,
        "image_uri": MISSING_IMAGE if repair.lacks_image else image_uri,
        "image_bytes": repair.image_bytes if image_uri else None,
        "wants_text": catalog.model != "image" and has_text,
        "wants_image": image_uri is not None or repair.lacks_image,
    }


def _restart(job: Job, values: Mapping[str, Any]) -> None:
    """Queue a job as if it were new; its label stays."""
    for name, value in values.items():
        setattr(job, name, value)
    for name in _OUTCOME:
        setattr(job, name, None)
    job.result = null()


def _mark_joined(repair: CatalogRowRepair) -> None:
    repair.status, repair.is_joined = RepairStatus.JOINED.value, True
    repair.joined_cells = dict(repair.cells)
    repair.joined_image_uri = repair.image_uri if repair.uses_image else None


def joined_between(session: Session, catalog_id: str, after: int, until: int) -> set[int]:
    """Return the repaired rows that a run has included, after one row, up to another."""
    query = select(CatalogRowRepair.row).where(
        CatalogRowRepair.catalog_id == catalog_id,
        CatalogRowRepair.row > after,
        CatalogRowRepair.row <= until,
        CatalogRowRepair.is_joined,
    )
    return set(session.scalars(query))


def queue_cancelled(session: Session, catalog_id: str) -> bool:
    """Queue the repaired rows whose jobs were cancelled again; return True if there are any.

    The feeder would find such rows in the table as they were uploaded.
    """
    query = select(CatalogRowRepair).where(
        CatalogRowRepair.catalog_id == catalog_id,
        CatalogRowRepair.status == RepairStatus.JOINED.value,
    )
    joined = {row_job_id(catalog_id, one.row): one for one in session.scalars(query)}
    cancelled = statuses(session, [*joined])[JobStatus.CANCELLED.value]
    for job_id in cancelled:
        joined[job_id].status = RepairStatus.QUEUED.value
    return bool(cancelled)
