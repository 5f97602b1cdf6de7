"""What waits, what runs, who works, and what was given up."""

import time
from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gateway.schemas import QueueList, QueueOut, WorkerOut
from shared import metrics
from shared.broker import Broker, QueueDepth
from shared.contracts import TOPICS, Modality, ScoreImage, ScoreText, all_queues
from shared.db.models import DeadLetter, Job, JobStatus, Score
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


def dead_letters(session: Session, limit: int) -> Sequence[DeadLetter]:
    """Dead letters, newest first."""
    return session.scalars(select(DeadLetter).order_by(DeadLetter.id.desc()).limit(limit)).all()


def replay(work: Work, letter_id: str) -> None:
    """Send a dead letter again; its failed jobs are queued once more.

    Raises:
        NotFound: No such dead letter.
    """
    letter = _find(work.session, letter_id)
    message = TOPICS[letter.topic].model_validate(letter.payload)
    ids = [item.job_id for item in getattr(message, "items", ())]
    if isinstance(message, ScoreText | ScoreImage):
        modality = Modality.TEXT if isinstance(message, ScoreText) else Modality.IMAGE
        work.session.execute(
            delete(Score).where(
                Score.job_id.in_(ids),
                Score.modality == modality.value,
                Score.probabilities.is_(None),
            )
        )
    for job in work.session.scalars(
        select(Job).where(Job.id.in_(ids), Job.status == JobStatus.FAILED.value)
    ):
        job.status = JobStatus.QUEUED.value
        job.finished_at = job.error_code = job.error_message = None
    work.session.delete(letter)
    work.publish(message)


def discard(session: Session, letter_id: str) -> None:
    """Throw a dead letter away. Raises `NotFound`."""
    session.delete(_find(session, letter_id))


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
