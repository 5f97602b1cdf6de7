"""Queues, workers and dead letters."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from shared.contracts import Lane


class QueueTotals(BaseModel):
    """Messages of all queues; each message is either waiting or running."""

    waiting: int = Field(description="Messages that no worker has taken.")
    running: int = Field(description="Messages taken by a worker and not yet acknowledged.")
    oldest_seconds: float | None = Field(
        description="Age of the oldest waiting message, in seconds."
    )
    messages_per_second: float = Field(
        description="Throughput of all workers, averaged over a minute."
    )
    workers: int = Field(description="Workers announced within the last seconds.")
    workers_proven: int = Field(description="Announced workers that are proven to consume.")


class QueueOut(QueueTotals):
    """Depth and workers of a queue."""

    queue: str
    station: str
    lane: Lane | None


class JobsQueued(BaseModel):
    """Unfinished jobs of a lane, counted in the database."""

    lane: Lane
    queued: int
    oldest_seconds: float | None


class WorkerOut(BaseModel):
    """Worker announced within the last seconds."""

    name: str
    queues: list[str]
    releases: list[str]
    running: int
    handled: int
    seconds_since_consumed: float | None
    seconds_since_asked: float | None = Field(
        description="Seconds since the queue last responded to its poll."
    )
    state: Literal["working", "ready", "deaf"] = Field(
        description="`deaf`: announced and idle, but not consuming."
    )


class QueueList(BaseModel):
    """Queues, workers and unfinished jobs; all messages counted at one moment."""

    items: list[QueueOut]
    totals: QueueTotals
    jobs_queued: int = Field(description="Unfinished jobs, counted in the database.")
    jobs: list[JobsQueued] = Field(description="Unfinished jobs by lane.")
    rows_to_feed: int = Field(description="Rows of catalogs that are not jobs yet.")
    workers: list[WorkerOut]


class DeadLetterOut(BaseModel):
    """Parked message with its jobs and catalog."""

    id: str
    topic: str
    error: str
    deliveries: int
    parked_at: datetime
    job_ids: list[str]
    catalog_id: str | None
    release: str | None
    lane: Lane | None
    payload: dict[str, Any]


class DeadLetterReport(DeadLetterOut):
    """Dead letter with the current states of its jobs."""

    jobs: dict[str, int] = Field(description="Jobs by status; a replay queues the failed ones.")


class DeadLetterList(BaseModel):
    """Dead letters, newest first."""

    items: list[DeadLetterOut]
    next_cursor: str | None


class Health(BaseModel):
    """Readiness of the gateway, check by check."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]
