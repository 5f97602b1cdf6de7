"""Requeue unfinished jobs whose messages were lost.

A message can be lost between commit and publish, in Redis, or with a killed worker. The database is
the source of truth: it holds the queued jobs past their lease. Such a job counts as lost only
if every queue on its way has advanced beyond its message, so messages that wait in a long queue are
never sent twice.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from gateway.jobs.messages import messages_of, wanted
from gateway.settings import SweepSettings
from shared import metrics
from shared.broker import QueueDepth, Worker, unloadable_everywhere
from shared.contracts import Lane, Message, Modality, WorkMessage, queue_name
from shared.db.leases import is_over
from shared.db.models import IdempotencyKey, Job, JobStatus, Score, now
from shared.db.session import UnitOfWork, Work
from shared.skipping import skipping

log = structlog.get_logger(__name__)

#: Maximum number of jobs per transaction.
BATCH = 1_000
#: Maximum number of jobs per message.
SLICE = 16
#: Lifetime of an idempotency key.
KEY_LIFETIME = timedelta(hours=24)


@dataclass(frozen=True)
class Sweeper:
    """Requeues jobs whose messages were lost.

    Attributes:
        depth: Returns the depth of a queue. Raises `Unavailable` if Redis does not answer; then
            nothing is requeued.
        workers: Returns the announced workers. Messages of a release that none of them can load
            are given back, not lost: their jobs wait, however long, and no loss is counted.
    """

    unit_of_work: UnitOfWork
    depth: Callable[[str], QueueDepth]
    settings: SweepSettings
    workers: Callable[[], Iterable[Worker]] = tuple

    def sweep(self) -> int:
        """Requeue lost jobs, fail those lost too often, and return the number requeued.

        Raises:
            Unavailable: The database or Redis does not answer; nothing was changed.
        """
        heads = {lane: self._heads(lane) for lane in Lane}
        held = unloadable_everywhere(self.workers())
        with self.unit_of_work() as work:
            overdue = _overdue(work.session, self._lease)
            missing = _missing(work.session, overdue)
            lost = _lost(overdue, missing, heads, held)
            hopeless = [job for job in lost if job.attempts >= self.settings.max_attempts]
            again = [job for job in lost if job.attempts < self.settings.max_attempts]
            self._fail(work.session, hopeless)
            work.announce(job.id for job in hopeless)
            self._extend(work.session, overdue)
            self._send(work, again, missing)
        sent = self._count(again, work.unsent)
        if lost:
            metrics.jobs_swept_total.inc(len(sent))
            metrics.jobs_given_up_total.inc(len(hopeless))
            metrics.jobs_finished_total.labels(JobStatus.FAILED.value).inc(len(hopeless))
            log.warning(
                "jobs_swept",
                sent_again=len(sent),
                not_sent=len(again) - len(sent),
                given_up=len(hopeless),
            )
        return len(sent)

    def _heads(self, lane: Lane) -> dict[str, float | None]:
        return {station: self._head(queue_name(station, lane)) for station in (*Modality, "fusion")}

    def _head(self, queue: str) -> float | None:
        """Return when the oldest message of a queue was published.

        One from the future was published before the clock was set back, so it may be older than any
        job, and a job behind it is not lost.
        """
        head = self.depth(queue).oldest_published_at
        return 0.0 if head is not None and head > (now() + self._lease).timestamp() else head

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self.settings.lease_seconds)

    def _extend(self, session: Session, jobs: Sequence[Job]) -> None:
        moment = now()
        _update_queued(session, jobs, leased_until=moment + self._lease)
        # Compared with such a time, no message would be lost until the clock has caught up.
        early = [job for job in jobs if job.published_at > moment + self._lease]
        _update_queued(session, early, published_at=moment)

    def _fail(self, session: Session, jobs: Sequence[Job]) -> None:
        _update_queued(
            session,
            jobs,
            status=JobStatus.FAILED.value,
            finished_at=now(),
            error_code="delivery_failed",
            error_message=f"Its messages were lost {self.settings.max_attempts} times",
        )

    def _send(self, work: Work, jobs: Sequence[Job], missing: dict[str, set[Modality]]) -> None:
        for slice_ in _slices(jobs):
            with skipping("sweep", ", ".join(job.id for job in slice_)):
                for message in messages_of(slice_, missing):
                    work.publish(message)

    def _count(self, jobs: Sequence[Job], unsent: Iterable[Message]) -> Sequence[Job]:
        """Count an attempt of each job whose messages were all sent, and return these jobs.

        A message that Redis refused was never on its way, so it was not lost.
        """
        refused = [message for message in unsent if isinstance(message, WorkMessage)]
        waiting = {item.job_id for message in refused for item in message.items}
        sent = [job for job in jobs if job.id not in waiting]
        if sent:
            with self.unit_of_work() as work:
                _update_queued(work.session, sent, published_at=now(), attempts=Job.attempts + 1)
        return sent


def delete_old_keys(session: Session) -> None:
    """Delete expired idempotency keys."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < now() - KEY_LIFETIME))


def _overdue(session: Session, lease: timedelta) -> Sequence[Job]:
    return session.scalars(
        select(Job)
        .where(Job.status == JobStatus.QUEUED.value, is_over(Job.leased_until, lease))
        .order_by(Job.leased_until)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    ).all()


def _missing(session: Session, jobs: Sequence[Job]) -> dict[str, set[Modality]]:
    """Return the modalities that jobs need and that have no score yet, by job ID."""
    missing = {}
    for job in jobs:
        with skipping("sweep", job.id):
            missing[job.id] = wanted(job)
    scored = select(Score.job_id, Score.modality).where(Score.job_id.in_(missing))
    for job_id, modality in session.execute(scored):
        with skipping("sweep", job_id):
            missing[job_id].discard(Modality(modality))
    return missing


def _lost(
    jobs: Iterable[Job],
    missing: Mapping[str, set[Modality]],
    heads: dict[Lane, dict[str, float | None]],
    held: Collection[str],
) -> list[Job]:
    """Return the jobs that are lost; one that cannot be judged waits for another lease."""
    lost = []
    for job in jobs:
        if job.id in missing and job.release not in held:
            with skipping("sweep", job.id):
                if _is_lost(job, missing[job.id], heads):
                    lost.append(job)
    return lost


def _is_lost(job: Job, missing: set[Modality], heads: dict[Lane, dict[str, float | None]]) -> bool:
    on_its_way = heads[Lane(job.lane)]
    return not any(
        _still_waits(job.published_at, on_its_way[station]) for station in (*missing, "fusion")
    )


def _still_waits(published_at: datetime, head: float | None) -> bool:
    """Return True if a queue with this oldest message may hold one published at that time."""
    return head is not None and head <= published_at.timestamp() + 1.0


def _update_queued(session: Session, jobs: Sequence[Job], **values: object) -> None:
    if jobs:
        session.execute(
            update(Job)
            .where(Job.id.in_([job.id for job in jobs]), Job.status == JobStatus.QUEUED.value)
            .values(**values)
            .execution_options(synchronize_session=False)
        )


def _slices(jobs: Iterable[Job]) -> Iterable[list[Job]]:
    groups: dict[tuple[str, str, str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        groups[(job.release, job.lane, job.trace_id, job.user_id)].append(job)
    for group in groups.values():
        for start in range(0, len(group), SLICE):
            yield group[start : start + SLICE]
