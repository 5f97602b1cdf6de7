"""Jobs of a slice of a catalog's rows, and the messages that request their scores."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from zipfile import ZipInfo

import structlog
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from gateway.catalogs.image_archive import Archive
from gateway.catalogs.row_check import Checked
from gateway.catalogs.service import failed_rows
from gateway.jobs.messages import messages_of
from gateway.jobs.submission import IMAGES
from shared.contracts import ImageItem, Lane, ScoreImage, ScoreText, TextItem, WorkMessage
from shared.db.models import (
    MOST_ROWS,
    Catalog,
    Job,
    JobStatus,
    Score,
    now,
    row_job_id,
    row_of_job,
)
from shared.db.session import Work
from shared.errors import ImageUnreadable

log = structlog.get_logger(__name__)

#: An address at which nothing is ever stored: the image worker answers `image_missing`.
MISSING_IMAGE = f"{IMAGES}/missing"
_INSERT_JOBS = insert(Job)


class Images(Protocol):
    """The part of `shared.storage.Storage` that stores images."""

    def put(self, folder: str, content: bytes) -> str:
        """Store bytes and return their address."""


class RowCounts(NamedTuple):
    """Number of rows with text only, and number of rows with an image."""

    texts: int
    images: int


def next_slice(rows: Iterator[Checked], texts: int, images: int) -> list[Checked]:
    """Return the next rows, at most `texts` rows and `images` images; empty at the end."""
    found: list[Checked] = []
    with_image = 0
    for checked in rows:
        found.append(checked)
        with_image += checked.problem is None and checked.image is not None
        if len(found) >= texts or with_image >= images:
            break
    return found


def job_values(catalog: Catalog, lease_seconds: float) -> dict[str, Any]:
    """Return what all new jobs of a catalog have in common, by column.

    Args:
        catalog: The catalog.
        lease_seconds: Seconds until the sweeper first examines a job.
    """
    moment = now()
    return {
        "user_id": catalog.user_id,
        "catalog_id": catalog.id,
        "trace_id": catalog.trace_id,
        "lane": Lane.CATALOG.value,
        "model": catalog.model,
        "release": catalog.release,
        "status": JobStatus.QUEUED.value,
        "created_at": moment,
        "published_at": moment,
        "leased_until": moment + timedelta(seconds=lease_seconds),
        "attempts": 0,
    }


def job_rows(
    catalog: Catalog,
    checked: Sequence[Checked],
    archive: Archive | None,
    images: Images,
    lease_seconds: float,
) -> list[dict[str, Any]]:
    """Store the images of the rows that were not rejected, and return the rows' jobs.

    Raises:
        Unavailable: The storage is full or does not answer.
    """
    shared = job_values(catalog, lease_seconds)
    return [
        {
            **shared,
            "id": row_job_id(catalog.id, found.row.number),
            "designation": found.row.get("designation"),
            "description": found.row.get("description"),
            "image_uri": _image_uri(found, archive, images),
            "image_bytes": found.image.file_size if found.image is not None else None,
            "wants_text": catalog.model != "image" and found.has_text,
            "wants_image": found.image is not None or found.lacks_image,
        }
        for found in checked
        if found.problem is None
    ]


def unfinished(
    catalog: Catalog, checked: Sequence[Checked], known: Mapping[str, JobStatus]
) -> Sequence[Checked]:
    """Return the rows without a job, and those whose job was cancelled."""
    open_statuses = (None, JobStatus.CANCELLED)
    return [
        one for one in checked if known.get(row_job_id(catalog.id, one.row.number)) in open_statuses
    ]


def add(
    work: Work,
    catalog: Catalog,
    jobs: Sequence[dict[str, Any]],
    known: Mapping[str, JobStatus] = MappingProxyType({}),
) -> None:
    """Insert a slice's jobs, or restart cancelled ones, and publish the requests for their scores.

    Args:
        work: The transaction.
        catalog: The catalog of the jobs.
        jobs: Column values of each job.
        known: Status of the jobs that are there already, by ID.
    """
    if not jobs:
        return
    if new := [job for job in jobs if job["id"] not in known]:
        # Without the ORM, which takes longer than the database.
        work.session.connection().execute(_INSERT_JOBS, new)
    _restart(work.session, [job for job in jobs if job["id"] in known])
    envelope = {
        "trace_id": catalog.trace_id,
        "lane": Lane.CATALOG,
        "release": catalog.release,
        "user_id": catalog.user_id,
    }
    texts = tuple(
        TextItem.of(job["id"], job["designation"], job["description"])
        for job in jobs
        if job["wants_text"]
    )
    images = tuple(
        ImageItem(job_id=job["id"], uri=job["image_uri"]) for job in jobs if job["wants_image"]
    )
    messages: list[WorkMessage] = []
    if texts:
        messages.append(ScoreText.model_validate({**envelope, "items": texts}))
    if images:
        messages.append(ScoreImage.model_validate({**envelope, "items": images}))
    for message in messages:
        work.publish(message)


def jobs_between(
    session: Session, catalog_id: str, after: int, until: int
) -> Mapping[str, JobStatus]:
    """Return the status of the jobs of a catalog's rows after one row, up to another, by ID."""
    query = select(Job.id, Job.status).where(
        Job.id > row_job_id(catalog_id, after), Job.id <= row_job_id(catalog_id, until)
    )
    return {job_id: JobStatus(status) for job_id, status in session.execute(query)}


def last_row(session: Session, catalog_id: str) -> int:
    """Return the number of the last row of a catalog that has a job; 0 if none has."""
    first, last = catalog_id, row_job_id(catalog_id, MOST_ROWS)
    found = session.scalar(select(func.max(Job.id)).where(Job.id > first, Job.id <= last))
    return 0 if found is None else row_of_job(found)


def failed_after(session: Session, catalog_id: str, row: int, limit: int) -> Sequence[Job]:
    """Lock and return the next failed jobs of a catalog after a row."""
    return session.scalars(
        select(Job)
        .where(*failed_rows(catalog_id), Job.id > row_job_id(catalog_id, row))
        .order_by(Job.id)
        .limit(limit)
        .with_for_update()
    ).all()


def queue_again(work: Work, jobs: Sequence[Job], lease_seconds: float) -> None:
    """Queue failed jobs again; scores that succeeded are kept."""
    if not jobs:
        return
    moment = now()
    for job in jobs:
        job.status, job.attempts = JobStatus.QUEUED.value, 0
        job.finished_at = job.error_code = job.error_message = None
        job.published_at = moment
        job.leased_until = moment + timedelta(seconds=lease_seconds)
    _forget_failures(work.session, [job.id for job in jobs])
    for message in messages_of(jobs):
        work.publish(message)


def _restart(session: Session, jobs: Sequence[dict[str, Any]]) -> None:
    """Queue cancelled jobs as if they were new; scores that succeeded are kept."""
    if not jobs:
        return
    ended: dict[str, None] = dict.fromkeys(("finished_at", "error_code", "error_message"))
    session.execute(update(Job), [{**job, **ended} for job in jobs])
    _forget_failures(session, [job["id"] for job in jobs])


def _forget_failures(session: Session, ids: Sequence[str]) -> None:
    failures = Score.probabilities.is_(None)
    session.execute(delete(Score).where(Score.job_id.in_(ids), failures))


def _image_uri(checked: Checked, archive: Archive | None, images: Images) -> str | None:
    if checked.lacks_image:
        return MISSING_IMAGE
    if checked.image is None or archive is None:
        return None
    return stored_image(checked.image, archive, images)


def stored_image(entry: ZipInfo, archive: Archive, images: Images) -> str:
    """Store an image of an archive and return its address.

    Raises:
        Unavailable: The storage is full or does not answer.
    """

    def store(member: ZipInfo) -> str:
        try:
            content = archive.read(member)
        except ImageUnreadable as error:
            # The job gets empty bytes, which the image worker rejects as unreadable.
            log.info("image_unreadable", name=member.filename, error=error.detail)
            content = b""
        return images.put(IMAGES, content)

    return archive.stored(entry, store)
