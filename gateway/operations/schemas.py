"""Queues, workers and dead letters."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from shared.contracts import Lane


class QueueTotals(BaseModel):
    """All queues together, counted in messages; each is either waiting or running."""

    waiting: int = Field(description="Nobody has them yet.")
    running: int = Field(description="A worker has them, and has not acknowledged them.")
    oldest_seconds: float | None = Field(description="Since the longest waiting one was sent.")
    messages_per_second: float = Field(description="Handled by all workers, over a minute.")
    workers: int = Field(description="That announced themselves within the last seconds.")
    workers_proven: int = Field(description="Of these, the ones that are proven to consume.")


class QueueOut(QueueTotals):
    """One queue."""

    queue: str
    station: str
    lane: Lane | None


class JobsQueued(BaseModel):
    """Unfinished jobs of a lane, counted in the database."""

    lane: Lane
    queued: int
    oldest_seconds: float | None


class WorkerOut(BaseModel):
    """A worker that announced itself within the last seconds."""

    name: str
    queues: list[str]
    releases: list[str]
    running: int
    handled: int
    seconds_since_consumed: float | None
    seconds_since_asked: float | None = Field(
        description="Since the queue last answered it what there is to do."
    )
    state: Literal["working", "ready", "deaf"] = Field(
        description="`deaf`: it announces itself, has nothing to do, and does not ask for work."
    )


class QueueList(BaseModel):
    """What waits, what runs, who works; all messages counted at one moment."""

    items: list[QueueOut]
    totals: QueueTotals
    jobs_queued: int = Field(description="Unfinished jobs, counted in the database.")
    jobs: list[JobsQueued] = Field(description="The same by lane.")
    rows_to_feed: int = Field(description="Rows of catalogs that are no jobs yet.")
    workers: list[WorkerOut]


class DeadLetterOut(BaseModel):
    """A message that was given up, and what it was about."""

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
    """The same, and what became of its jobs."""

    jobs: dict[str, int] = Field(description="How many stand how; replay queues the failed ones.")


class DeadLetterList(BaseModel):
    """Dead letters, newest first."""

    items: list[DeadLetterOut]
    next_cursor: str | None


class Health(BaseModel):
    """Readiness of the gateway, check by check."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]
