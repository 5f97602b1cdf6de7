"""Jobs: read, list and cancel."""

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, bindparam, func, select, update
from sqlalchemy.orm import Session, defer, with_expression

from gateway.identity.principal import Principal
from gateway.web.paging import paginate
from shared.db.models import (
    NOT_DONE,
    ROW_DIGITS,
    Job,
    JobStatus,
    now,
    row_job_id,
)
from shared.db.session import UnitOfWork
from shared.errors import NotFound

#: Characters of a title that responses contain. A page of long titles would take megabytes.
TITLE_CHARACTERS = 300
#: Columns of a response body, and the owner. The statement is built once and executed without the
#: ORM: building it and the ORM each take longer than SQLite needs to execute it.
_READ_JOBS = select(
    Job.id,
    Job.user_id,
    Job.status,
    Job.model,
    Job.release,
    Job.created_at,
    Job.finished_at,
    Job.prdtypecode,
    Job.confidence,
    Job.result,
    Job.error_code,
    Job.error_message,
    Job.label,
    Job.image_uri,
    func.substr(Job.designation, 1, TITLE_CHARACTERS).label("title"),
).where(Job.id.in_(bindparam("ids", expanding=True)))
Found = TypeVar("Found", Job, Row[Any])


def find(session: Session, principal: Principal, job_id: str) -> Job:
    """Return a job. Raises `NotFound`, also for jobs of other users."""
    return _visible(session.get(Job, job_id), principal, job_id)


def find_all(
    connection: Connection, wanted: Sequence[tuple[Principal, str]]
) -> list[Row[Any] | NotFound]:
    """Return the columns of a response by ID, each as its principal may see it, or the errors."""
    ids = list({job_id for _, job_id in wanted})
    rows: Sequence[Row[Any]] = connection.execute(_READ_JOBS, {"ids": ids}).all()
    jobs = {row.id: row for row in rows}
    found: list[Row[Any] | NotFound] = []
    for principal, job_id in wanted:
        try:
            found.append(_visible(jobs.get(job_id), principal, job_id))
        except NotFound as error:
            found.append(error)
    return found


def _visible(job: Found | None, principal: Principal, job_id: str) -> Found:
    if job is None or (job.user_id != principal.id and not principal.is_admin):
        raise NotFound(f"No job {job_id!r}")
    return job


def page(
    session: Session,
    principal: Principal,
    status: str | None,
    cursor: str | None,
    limit: int,
    catalog_id: str | None = None,
) -> tuple[Sequence[Job], str | None]:
    """Return a page of the user's jobs, newest first, and the cursor of the next page.

    The jobs of a catalog are listed from the last row to the first.

    Raises:
        InvalidInput: The cursor was not issued by a list of this API.
    """
    # A page of long texts would take tens of megabytes, and lists do not show them.
    texts = defer(Job.designation), defer(Job.description)
    title = with_expression(Job.title, func.substr(Job.designation, 1, TITLE_CHARACTERS))
    query = select(Job).where(Job.user_id == principal.id).options(*texts, title)
    if catalog_id is not None:
        first, last = row_job_id(catalog_id, 0), row_job_id(catalog_id, 16**ROW_DIGITS - 1)
        query = query.where(Job.id.between(first, last), Job.catalog_id == catalog_id)
    if status is not None:
        query = query.where(Job.status == status)
        if status != JobStatus.DONE.value:
            query = query.where(NOT_DONE)
    return paginate(session, query, Job.id, cursor, limit)


def cancel(session: Session, principal: Principal, job_id: str) -> Job:
    """Cancel a job. A final job stays unchanged.

    Raises:
        NotFound: The principal has no such job.
    """
    find(session, principal, job_id)
    session.execute(
        update(Job)
        .where(Job.id == job_id, Job.status == JobStatus.QUEUED.value)
        .values(status=JobStatus.CANCELLED.value, finished_at=now(), image_bytes=None)
        .execution_options(synchronize_session=False)
    )
    session.expire_all()
    return find(session, principal, job_id)


def finished(unit_of_work: UnitOfWork, ids: Collection[str]) -> set[str]:
    """Return those of some job IDs that are final or deleted."""
    with unit_of_work.reading() as session:
        queued = session.scalars(
            select(Job.id).where(Job.id.in_(ids), Job.status == JobStatus.QUEUED.value)
        )
        return set(ids) - set(queued)
