"""Counts of rows and workers, and probes of dependencies, for the metrics."""

from collections import Counter
from collections.abc import Callable

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared import metrics
from shared.broker import Broker
from shared.contracts import Lane, all_queues
from shared.db.models import NOT_DONE, Catalog, CatalogStatus, DeadLetter, Job, JobStatus, now
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from shared.storage import Storage

log = structlog.get_logger(__name__)


class RowCounts:
    """Exports counts of rows and workers as metrics.

    Args:
        unit_of_work: The database, only read.
        broker: The queue, with the announcements of workers.
        storage: The storage, whose free space is exported.
    """

    def __init__(self, unit_of_work: UnitOfWork, broker: Broker, storage: Storage) -> None:
        self._unit_of_work = unit_of_work
        self._broker = broker
        self._storage = storage

    def count_unfinished(self) -> None:
        """Count unfinished jobs and dead letters, a fast query. Raises `Unavailable`."""
        with self._unit_of_work.reading() as session:
            _count_queued(session)
            _count_dead_letters(session)

    def count_all(self) -> None:
        """Count all jobs and catalogs by status, a slower query. Raises `Unavailable`."""
        with self._unit_of_work.reading() as session:
            jobs = {status.value: 0 for status in JobStatus} | _by_status(session, Job)
            catalogs = {status.value: 0 for status in CatalogStatus} | _by_status(session, Catalog)
        metrics.show(metrics.jobs, {(status,): count for status, count in jobs.items()})
        metrics.show(metrics.catalogs, {(status,): count for status, count in catalogs.items()})

    def count_workers(self) -> None:
        """Count the workers of each queue. Raises `Unavailable`."""
        consumed = Counter(queue for one in self._broker.workers() for queue in one.queues)
        metrics.show(metrics.workers, {(queue,): consumed[queue] for queue in all_queues()})

    def probe(self) -> None:
        """Probe database, queue and storage. One that does not answer is exported as down."""
        _probe("database", self._probe_database)
        _probe("queue", self._probe_queue)
        _probe("storage", self._probe_storage)

    def _probe_database(self) -> None:
        with self._unit_of_work.reading() as session:
            session.execute(select(1))

    def _probe_queue(self) -> None:
        metrics.memory_ratio.labels("queue").set(self._broker.memory_ratio())

    def _probe_storage(self) -> None:
        free = self._storage.free_bytes()
        if free is not None:
            metrics.free_bytes.labels("storage").set(free)


def _probe(dependency: str, check: Callable[[], None]) -> None:
    try:
        check()
    except Unavailable as error:
        log.warning("dependency_down", dependency=dependency, error=str(error))
        metrics.dependency_up.labels(dependency).set(0)
    else:
        metrics.dependency_up.labels(dependency).set(1)


def _count_queued(session: Session) -> None:
    query = (
        select(Job.lane, func.count(), func.min(Job.created_at))
        .where(NOT_DONE, Job.status == JobStatus.QUEUED.value)
        .group_by(Job.lane)
    )
    rows = {str(lane): (count, oldest) for lane, count, oldest in session.execute(query)}
    metrics.jobs.labels(JobStatus.QUEUED.value).set(sum(count for count, _ in rows.values()))
    for lane in Lane:
        oldest = rows[lane.value][1] if lane.value in rows else None
        age = (now() - oldest).total_seconds() if oldest is not None else 0.0
        metrics.jobs_oldest_seconds.labels(lane.value).set(max(0.0, age))


def _count_dead_letters(session: Session) -> None:
    query = select(DeadLetter.topic, func.count()).group_by(DeadLetter.topic)
    found = {(str(topic),): float(count) for topic, count in session.execute(query)}
    metrics.show(metrics.dead_letters, found)


def _by_status(session: Session, kind: type[Job] | type[Catalog]) -> dict[str, int]:
    query = select(kind.status, func.count()).group_by(kind.status)
    return {str(status): count for status, count in session.execute(query)}
