"""What waits, what runs, who works, and what was given up."""

import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gateway.deps import cursor_after, read_cursor
from gateway.schemas import QueueList, QueueOut, WorkerOut
from shared import metrics
from shared.broker import Broker, QueueDepth
from shared.contracts import TOPICS, Message, Modality, ScoreImage, ScoreText, all_queues
from shared.db.models import DeadLetter, Job, JobStatus, Score, now
from shared.db.session import Work
from shared.errors import NotFound


def overview(broker: Broker, session: Session) -> QueueList:
    """Look at every queue. Raises `Unavailable` when Redis does not answer."""
    depths = [broker.depth(queue) for queue in all_queues()]
    queued = session.scalar(
        select(func.count()).select_from(Job).where(Job.status == JobStatus.QUEUED.value)
    )
    return QueueList(
        items=[_queue(depth) for depth in depths],
        jobs_queued=queued or 0,
        workers=[WorkerOut.model_validate(vars(worker)) for worker in broker.workers()],
    )


def record_depths(broker: Broker) -> None:
    """Put the depths into the metrics. Raises `Unavailable` when Redis does not answer."""
    for queue in all_queues():
        depth = broker.depth(queue)
        metrics.queue_messages.labels(queue, "waiting").set(depth.waiting)
        metrics.queue_messages.labels(queue, "running").set(depth.running)
        metrics.queue_oldest_seconds.labels(queue).set(_age(depth) or 0.0)


def dead_letters(
    session: Session, cursor: str | None, limit: int
) -> tuple[Sequence[DeadLetter], str | None]:
    """Dead letters, newest first, and the cursor of the next page.

    Raises:
        InvalidInput: The cursor is not one that a page gave.
    """
    query = select(DeadLetter).order_by(DeadLetter.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(DeadLetter.id < read_cursor(cursor))
    found = session.scalars(query).all()
    return found[:limit], cursor_after(found[limit - 1].id) if len(found) > limit else None


def replay(work: Work, letter_id: str, *, lease_seconds: float) -> None:
    """Send a dead letter again; its failed jobs are queued once more, with a new lease.

    Raises:
        NotFound: No such dead letter.
    """
    letter = _find(work.session, letter_id)
    message = TOPICS[letter.topic].model_validate(letter.payload)
    failed = _failed_jobs(work.session, message)
    if isinstance(message, ScoreText | ScoreImage):
        modality = Modality.TEXT if isinstance(message, ScoreText) else Modality.IMAGE
        _forget_failures(work.session, failed, modality)
    until = now() + timedelta(seconds=lease_seconds)
    for job in failed:
        job.status, job.attempts = JobStatus.QUEUED.value, 0
        job.finished_at = job.error_code = job.error_message = None
        # Without a new lease the sweeper would take the message for lost before it is sent.
        job.published_at, job.leased_until = now(), until
    work.session.delete(letter)
    work.publish(message)


def discard(session: Session, letter_id: str) -> None:
    """Throw a dead letter away. Raises `NotFound`."""
    session.delete(_find(session, letter_id))


def _failed_jobs(session: Session, message: Message) -> Sequence[Job]:
    ids = [item.job_id for item in getattr(message, "items", ())]
    return session.scalars(
        select(Job)
        .where(Job.id.in_(ids), Job.status == JobStatus.FAILED.value)
        .order_by(Job.id)
        .with_for_update()
    ).all()


def _forget_failures(session: Session, jobs: Sequence[Job], modality: Modality) -> None:
    # Only of jobs that run again: the answer of a degraded job keeps the reason.
    session.execute(
        delete(Score).where(
            Score.job_id.in_([job.id for job in jobs]),
            Score.modality == modality.value,
            Score.probabilities.is_(None),
        )
    )


def _find(session: Session, letter_id: str) -> DeadLetter:
    letter = session.get(DeadLetter, letter_id)
    if letter is None:
        raise NotFound(f"No dead letter {letter_id!r}")
    return letter


def _queue(depth: QueueDepth) -> QueueOut:
    return QueueOut(
        queue=depth.queue,
        waiting=depth.waiting,
        running=depth.running,
        oldest_seconds=_age(depth),
    )


def _age(depth: QueueDepth) -> float | None:
    if depth.oldest_published_at is None:
        return None
    return max(0.0, time.time() - depth.oldest_published_at)
