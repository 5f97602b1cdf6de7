"""Dead letters: list, replay and discard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gateway.web.paging import paginate
from shared.contracts import (
    TOPICS,
    LaneMessage,
    Message,
    Modality,
    ScoreImage,
    ScoreText,
    WorkMessage,
)
from shared.db.models import DeadLetter, Job, JobStatus, Score, now
from shared.db.session import Work
from shared.errors import Conflict, NotFound


@dataclass(frozen=True)
class Reference:
    """The subject of a dead letter. Empty if this version cannot parse its message.

    Attributes:
        catalog_id: Catalog of the jobs; `None` for single jobs and for deleted ones.
    """

    job_ids: tuple[str, ...]
    catalog_id: str | None
    release: str | None
    lane: str | None


def page(
    session: Session,
    cursor: str | None,
    limit: int,
    topic: str | None = None,
    error: str | None = None,
) -> tuple[Sequence[DeadLetter], str | None]:
    """Return a page of dead letters, newest first, and the cursor of the next page.

    Raises:
        InvalidInput: The cursor was not issued by a list of this API.
    """
    query = select(DeadLetter)
    if topic is not None:
        query = query.where(DeadLetter.topic == topic)
    if error is not None:
        query = query.where(DeadLetter.error == error)
    return paginate(session, query, DeadLetter.id, cursor, limit)


def find(session: Session, letter_id: str) -> DeadLetter:
    """Return a dead letter. Raises `NotFound`."""
    letter = session.get(DeadLetter, letter_id)
    if letter is None:
        raise NotFound(f"No dead letter {letter_id!r}")
    return letter


def references(session: Session, letters: Sequence[DeadLetter]) -> Iterator[Reference]:
    """Yield the subjects of dead letters, in their order."""
    messages = [_message_of(letter) for letter in letters]
    # All jobs of a message belong to one catalog or to none, so the first job decides.
    firsts = [ids[0] for ids in map(_job_ids, messages) if ids]
    query = select(Job.id, Job.catalog_id).where(Job.id.in_(firsts))
    catalogs = {row.id: row.catalog_id for row in session.execute(query)}
    for message in messages:
        ids = _job_ids(message)
        yield Reference(
            job_ids=ids,
            catalog_id=catalogs.get(ids[0]) if ids else None,
            release=message.release if isinstance(message, WorkMessage) else None,
            lane=message.lane.value if isinstance(message, LaneMessage) else None,
        )


def statuses(session: Session, job_ids: Sequence[str]) -> dict[str, int]:
    """Count jobs by status. Deleted jobs are not counted."""
    query = select(Job.status, func.count().label("jobs")).where(Job.id.in_(job_ids))
    return {row.status: row.jobs for row in session.execute(query.group_by(Job.status))}


def replay(work: Work, letter_id: str, *, lease_seconds: float) -> None:
    """Send a dead letter again and queue its failed jobs with a new lease.

    Raises:
        NotFound: The dead letter does not exist.
        Conflict: This version cannot parse its message.
    """
    letter = find(work.session, letter_id)
    message = _message_of(letter)
    if message is None:
        raise Conflict(f"{_why_unreadable(letter)}, so it cannot be replayed, only discarded")
    failed = _failed_jobs(work.session, message)
    if isinstance(message, ScoreText | ScoreImage):
        modality = Modality.TEXT if isinstance(message, ScoreText) else Modality.IMAGE
        _delete_failed_scores(work.session, failed, modality)
    until = now() + timedelta(seconds=lease_seconds)
    for job in failed:
        job.status, job.attempts = JobStatus.QUEUED.value, 0
        job.finished_at = job.error_code = job.error_message = None
        # Without a new lease the scheduler would requeue the jobs before the message is sent.
        job.published_at, job.leased_until = now(), until
    work.session.delete(letter)
    work.publish(message)


def discard(session: Session, letter_id: str) -> None:
    """Discard a dead letter. Raises `NotFound`."""
    session.delete(find(session, letter_id))


def _failed_jobs(session: Session, message: Message) -> Sequence[Job]:
    if isinstance(message, WorkMessage) and not message.decides_jobs:
        return ()
    return session.scalars(
        select(Job)
        .where(Job.id.in_(_job_ids(message)), Job.status == JobStatus.FAILED.value)
        .order_by(Job.id)
        .with_for_update()
    ).all()


def _delete_failed_scores(session: Session, jobs: Sequence[Job], modality: Modality) -> None:
    # Restricted to the jobs that are queued again: a degraded answer keeps its reason.
    session.execute(
        delete(Score).where(
            Score.job_id.in_([job.id for job in jobs]),
            Score.modality == modality.value,
            Score.probabilities.is_(None),
        )
    )


def _message_of(letter: DeadLetter) -> Message | None:
    """Parse the message of a dead letter; `None` if only another version can read it."""
    try:
        return TOPICS[letter.topic].model_validate(letter.payload)
    except (KeyError, ValidationError):
        return None


def _why_unreadable(letter: DeadLetter) -> str:
    if letter.topic not in TOPICS:
        return f"This version has no message type {letter.topic!r}"
    return f"Its content is not a valid {letter.topic!r} message of this version"


def _job_ids(message: Message | None) -> tuple[str, ...]:
    return tuple(item.job_id for item in getattr(message, "items", ()))
