"""Response bodies of queues, workers, dead letters and health."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from shared.contracts import Lane


class QueueTotals(BaseModel):
    """Messages of all queues; each message is either waiting or running."""

    waiting: int = Field(description="Messages that no worker has taken.")
    running: int = Field(description="Messages taken by a worker and not yet acknowledged.")
    oldest_seconds: float | None = Field(
        description="Age of the oldest waiting message, in seconds; `null` without one."
    )
    messages_per_second: float = Field(
        description="Throughput of all workers, averaged over a minute."
    )
    workers: int = Field(description="Workers that announced themselves within the last seconds.")
    workers_proven: int = Field(
        description="Announced workers that are proven to consume, that is, not `deaf`."
    )


class QueueOut(QueueTotals):
    """The messages and workers of a queue."""

    queue: str
    station: str = Field(description="Service that consumes the queue, such as `text`.")
    lane: Lane | None


class JobsQueued(BaseModel):
    """Unfinished jobs of a lane, counted in the database."""

    lane: Lane
    queued: int
    oldest_seconds: float | None = Field(
        description="Age of the oldest unfinished job, in seconds; `null` without one."
    )


class WorkerOut(BaseModel):
    """A worker that announced itself within the last seconds."""

    name: str
    queues: list[str]
    releases: list[str]
    running: int = Field(description="Messages that it is handling.")
    handled: int = Field(description="Messages that it has handled since it started.")
    seconds_since_consumed: float | None = Field(
        description="Seconds since it last took a message; `null` before the first one."
    )
    seconds_since_asked: float | None = Field(
        description="Seconds since it last polled its queues with success."
    )
    state: Literal["working", "ready", "deaf"] = Field(
        description="`working`: handling messages. `ready`: idle and polling. `deaf`: connected "
        "and idle, but not polling."
    )


class QueueList(BaseModel):
    """Queues, workers and unfinished jobs. All messages are counted at one moment."""

    items: list[QueueOut]
    totals: QueueTotals
    jobs_queued: int = Field(description="Unfinished jobs, counted in the database.")
    jobs: list[JobsQueued] = Field(description="Unfinished jobs by lane.")
    rows_to_feed: int = Field(description="Catalog rows that have not become jobs yet.")
    workers: list[WorkerOut]


class DeadLetterOut(BaseModel):
    """A dead letter: a message that was given up, with its jobs and catalog."""

    id: str
    topic: str
    error: str = Field(description="Error of the last delivery.")
    deliveries: int = Field(description="Number of deliveries before it was given up.")
    parked_at: datetime
    job_ids: list[str]
    catalog_id: str | None
    release: str | None
    lane: Lane | None
    payload: dict[str, Any]


class DeadLetterReport(DeadLetterOut):
    """A dead letter with the current statuses of its jobs."""

    jobs: dict[str, int] = Field(
        description="Number of jobs by status. A replay queues the failed ones."
    )


class DeadLetterList(BaseModel):
    """A page of dead letters, newest first."""

    items: list[DeadLetterOut]
    next_cursor: str | None


class Health(BaseModel):
    """The health of the gateway, check by check."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = Field(description="`ok` or the reason for each failed check.")
