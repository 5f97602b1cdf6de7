"""Overview of queues, workers and unfinished jobs."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from gateway.catalogs.admission import UNFINISHED
from gateway.operations.processes import missing, process_list
from gateway.operations.schemas import JobsQueued, QueueList, QueueOut, QueueTotals, WorkerOut
from shared import metrics
from shared.broker import Broker, QueueDepth, Worker, WorkerState
from shared.contracts import DATASETS_QUEUE, TRAINING_QUEUE, Lane, all_queues
from shared.db.models import (
    Catalog,
    DatasetStatus,
    DatasetVersion,
    Job,
    JobStatus,
    TrainingRun,
    TrainingStatus,
    now,
)


def overview(broker: Broker, session: Session, expected_processes: Sequence[str] = ()) -> QueueList:
    """Return queues, workers, processes and unfinished jobs. All messages are of one moment.

    Raises:
        Unavailable: Redis does not answer.
    """
    depths = _depths(broker, session)
    workers = broker.workers()
    jobs = _jobs_queued(session)
    heartbeats = broker.heartbeats()
    return QueueList(
        items=[_queue(depth, workers) for depth in depths.values()],
        totals=_totals(depths.values(), workers),
        jobs_queued=sum(one.queued for one in jobs),
        jobs=jobs,
        rows_to_feed=_rows_to_feed(session),
        workers=[_worker(worker) for worker in workers],
        processes=process_list(heartbeats),
        missing_processes=missing(heartbeats, expected_processes),
    )


def record_depths(broker: Broker, session: Session) -> None:
    """Export the depths of all queues as metrics. Raises `Unavailable`."""
    for queue, depth in _depths(broker, session).items():
        metrics.queue_messages.labels(queue, "waiting").set(depth.waiting)
        metrics.queue_messages.labels(queue, "running").set(depth.running)
        metrics.queue_oldest_seconds.labels(queue).set(_age(depth) or 0.0)


def _depths(broker: Broker, session: Session) -> Mapping[str, QueueDepth]:
    """Return the depth of each queue: messages, or rows where messages only wake the trainer up.

    The trainer acknowledges a message at once, because its work takes longer than Redis waits.
    """
    depths = broker.depths(all_queues())
    unfinished = (TrainingStatus.QUEUED.value, TrainingStatus.RUNNING.value)
    runs = TrainingRun.status.in_(unfinished)
    checks = DatasetVersion.status == DatasetStatus.CHECKING.value
    found = {
        TRAINING_QUEUE: (TrainingRun.leased_until, TrainingRun.requested_at, runs),
        DATASETS_QUEUE: (DatasetVersion.leased_until, DatasetVersion.created_at, checks),
    }
    rows = {queue: _counted(session, depths[queue], *columns) for queue, columns in found.items()}
    return {**depths, **rows}


def _counted(
    session: Session,
    depth: QueueDepth,
    leased_until: InstrumentedAttribute[datetime | None],
    created_at: InstrumentedAttribute[datetime],
    unfinished: ColumnElement[bool],
) -> QueueDepth:
    """Replace the counts of a queue: a row is running while a trainer holds its lease."""
    is_held = func.coalesce(leased_until > now(), False)
    waiting, running, oldest = session.execute(
        select(
            func.count(case((~is_held, 1))),
            func.count(case((is_held, 1))),
            func.min(case((~is_held, created_at))),
        ).where(unfinished)
    ).one()
    published_at = oldest.timestamp() if oldest else None
    return replace(depth, waiting=waiting, running=running, oldest_published_at=published_at)


def _queue(depth: QueueDepth, workers: Sequence[Worker]) -> QueueOut:
    station, _, lane = depth.queue.partition(".")
    listening = [worker for worker in workers if depth.queue in worker.queues]
    return QueueOut(
        queue=depth.queue,
        station=station,
        lane=Lane(lane) if lane else None,
        waiting=depth.waiting,
        running=depth.running,
        oldest_seconds=_age(depth),
        messages_per_second=round(depth.handled_per_second, 3),
        workers=len(listening),
        workers_proven=sum(_is_proven(worker) for worker in listening),
    )


def _totals(depths: Iterable[QueueDepth], workers: Sequence[Worker]) -> QueueTotals:
    found = list(depths)
    ages = [age for age in map(_age, found) if age is not None]
    return QueueTotals(
        waiting=sum(depth.waiting for depth in found),
        running=sum(depth.running for depth in found),
        oldest_seconds=max(ages, default=None),
        messages_per_second=round(sum(depth.handled_per_second for depth in found), 3),
        workers=len(workers),
        workers_proven=sum(map(_is_proven, workers)),
    )


def _worker(worker: Worker) -> WorkerOut:
    return WorkerOut.model_validate({**vars(worker), "state": worker.state.value})


def _is_proven(worker: Worker) -> bool:
    return worker.state is not WorkerState.DEAF


def _jobs_queued(session: Session) -> list[JobsQueued]:
    """Count unfinished jobs by lane in the database, the source of truth."""
    query = (
        select(Job.lane, func.count(), func.min(Job.created_at))
        .where(Job.status == JobStatus.QUEUED.value)
        .group_by(Job.lane)
    )
    found = {lane: (count, oldest) for lane, count, oldest in session.execute(query)}
    return [
        JobsQueued(
            lane=lane,
            queued=found[lane][0] if lane in found else 0,
            oldest_seconds=max(0.0, (now() - found[lane][1]).total_seconds())
            if lane in found
            else None,
        )
        for lane in Lane
    ]


def _rows_to_feed(session: Session) -> int:
    query = select(func.sum(Catalog.rows - Catalog.rejected - Catalog.fed)).where(
        Catalog.status.in_(UNFINISHED), Catalog.dry_run.is_(False)
    )
    return max(0, session.scalar(query) or 0)


def _age(depth: QueueDepth) -> float | None:
    if depth.oldest_published_at is None:
        return None
    return max(0.0, time.time() - depth.oldest_published_at)
