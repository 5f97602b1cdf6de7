"""Response bodies of queues, workers, dead letters and health."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.web.schemas import Body, NextCursor, Reason
from shared.contracts import Lane


class QueueTotals(BaseModel):
    """Messages of all queues; each message is either waiting or running.

    In `training` and `datasets`, training runs and versions of datasets are counted instead: the
    trainer acknowledges their messages before it begins.
    """

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

    queue: str = Field(description="Name of the queue, such as `text.interactive`.")
    station: str = Field(description="Service that consumes the queue, such as `text`.")
    lane: Lane | None = Field(
        description="`interactive` for single jobs, `catalog` for rows of catalogs; `null` for a "
        "queue of neither."
    )


class JobsQueued(BaseModel):
    """Unfinished jobs of a lane, counted in the database."""

    lane: Lane = Field(description="`interactive` for single jobs, `catalog` for rows of catalogs.")
    queued: int = Field(description="Number of unfinished jobs.")
    oldest_seconds: float | None = Field(
        description="Age of the oldest unfinished job, in seconds; `null` without one."
    )


class WorkerOut(BaseModel):
    """A worker that announced itself within the last seconds."""

    name: str = Field(
        description="Name of the worker: service, host and process ID, such as `text@host:12`."
    )
    queues: list[str] = Field(description="Queues that it consumes.")
    releases: list[str] = Field(
        description="Versions of the releases whose models it holds in memory."
    )
    unloadable: dict[str, str] = Field(
        description="Releases that it cannot load, by version, with the reason. It gives their "
        "messages back and tries again."
    )
    running: int = Field(description="Messages that it is handling.")
    handled: int = Field(description="Messages that it has handled since it started.")
    seconds_since_consumed: float | None = Field(
        description="Seconds since it last took a message; `null` before the first one."
    )
    seconds_since_asked: float | None = Field(
        description="Seconds since it last polled its queues with success; `null` before."
    )
    state: Literal["working", "ready", "deaf"] = Field(
        description="`working`: handling messages. `ready`: idle and polling. `deaf`: connected "
        "and idle, but not polling."
    )


class LoopOut(BaseModel):
    """The progress of a loop of a process, as of its last heartbeat."""

    model_config = ConfigDict(extra="ignore")

    loop: str = Field(description="Name of the task, thread or topic, such as `sweep`.")
    state: Literal["ok", "failing", "late"] = Field(
        description="`failing` after three failures in a row; `late` if it should have succeeded "
        "since."
    )
    seconds_since_success: float = Field(
        description="Seconds between its last success, or its start, and the heartbeat."
    )
    last_success_at: datetime | None = Field(
        description="Time of its last success, in UTC; `null` before the first one."
    )
    failures: int = Field(description="Failures in a row, since its last success.")
    last_failure_at: datetime | None = Field(
        description="Time of its last failure, in UTC; `null` without one."
    )
    failure: str = Field(description="Reason of the last failure; empty without one.")
    row: str = Field(description="Row that stopped it, such as a job; empty if no row did.")
    rows_skipped: int = Field(
        description="Rows that it left out since the process started, because they raised an error."
    )
    skipped: str = Field(description="Row that it left out last, with the reason; empty if none.")


class ProcessOut(BaseModel):
    """A process with the progress of its loops."""

    name: str = Field(
        description="Name of the process: what it runs as, host and process ID, such as "
        "`scheduler@host:12`."
    )
    process: str = Field(description="What it runs as, such as `scheduler` or `text-catalog`.")
    state: Literal["ok", "failing", "late", "silent"] = Field(
        description="`failing` or `late` if a loop is; `silent` if no heartbeat came for 30 "
        "seconds: the process hangs, was killed or does not reach the queue."
    )
    seconds_since_heartbeat: float = Field(
        description="Age of its last heartbeat, in seconds. After 15 minutes it is forgotten."
    )
    loops: list[LoopOut] = Field(description="Its loops.")


class QueueList(BaseModel):
    """Queues, workers and unfinished jobs. All messages are counted at one moment."""

    items: list[QueueOut] = Field(description="The queues.")
    totals: QueueTotals = Field(description="Sums over all queues.")
    jobs_queued: int = Field(description="Unfinished jobs, counted in the database.")
    jobs: list[JobsQueued] = Field(description="Unfinished jobs by lane.")
    rows_to_feed: int = Field(description="Catalog rows that have not become jobs yet.")
    workers: list[WorkerOut] = Field(description="The workers.")
    processes: list[ProcessOut] = Field(description="All processes, with their progress.")
    missing_processes: list[str] = Field(
        description="Processes that should run and have no heartbeat "
        "(`RAYON_GATEWAY_EXPECTED_PROCESSES`)."
    )


class DeadLetterOut(BaseModel):
    """A dead letter: a message that was given up, with its jobs and catalog."""

    id: str = Field(description="ID of the dead letter, a UUID; IDs sort by time of storage.")
    topic: str = Field(description="Topic of the message, such as `score_text`.")
    error: str = Field(description="Error of the last delivery.")
    deliveries: int = Field(description="Number of deliveries before it was given up.")
    parked_at: datetime = Field(description="Time at which the message was given up, in UTC.")
    job_ids: list[str] = Field(
        description="IDs of the jobs that the message concerns; empty if it cannot be parsed."
    )
    catalog_id: str | None = Field(
        description="ID of the jobs' catalog; `null` for single or deleted jobs."
    )
    release: str | None = Field(
        description="Version of the release that was to answer; `null` for other messages."
    )
    lane: Lane | None = Field(
        description="`interactive` for single jobs, `catalog` for rows of catalogs; `null` for "
        "other messages."
    )
    payload: dict[str, Any] = Field(description="Content of the message.")


class DeadLetterReport(DeadLetterOut):
    """A dead letter with the current statuses of its jobs."""

    jobs: dict[str, int] = Field(
        description="Number of jobs by status. A replay queues the failed ones."
    )


class DeadLetterList(BaseModel):
    """A page of dead letters, newest first."""

    items: list[DeadLetterOut] = Field(description="The dead letters of the page.")
    next_cursor: NextCursor


class DeadLetterGroup(BaseModel):
    """Dead letters with the same topic and error."""

    topic: str = Field(description="Topic of the messages, such as `score_text`.")
    error: str = Field(description="Error of their last delivery.")
    count: int = Field(description="Number of the dead letters.")
    newest_id: str = Field(
        description="ID of the newest one. Send it to handle no others than those counted."
    )
    first_at: datetime = Field(description="Time at which the first was given up, in UTC.")
    last_at: datetime = Field(description="Time at which the last was given up, in UTC.")
    jobs: dict[str, int] = Field(
        description="Number of jobs by status, of the newest 200 of the dead letters."
    )


class DeadLetterGroups(BaseModel):
    """Dead letters, grouped by topic and error."""

    items: list[DeadLetterGroup] = Field(description="The groups, at most 100, largest first.")


class GroupSelection(Body):
    """The dead letters of a group, up to one of them, and the reason for handling them."""

    topic: str = Field(max_length=64, description="Topic of the messages.")
    error: str = Field(max_length=100_000, description="Error of their last delivery.")
    newest_id: str = Field(
        max_length=36, description="ID of the newest one; those that came later stay."
    )
    reason: Reason


class DeadLettersHandled(BaseModel):
    """Result of handling a group of dead letters."""

    handled: int = Field(description="Number of those that were replayed or discarded.")
    refused: int = Field(description="Number of those that this version cannot read.")
    left: int = Field(
        description="Number of those that are left, because a request handles at most 1,000. "
        "Repeat it for the rest."
    )


class Health(BaseModel):
    """The health of the gateway, check by check."""

    status: Literal["ok", "degraded", "unavailable"] = Field(
        description="`ok`; `degraded` while the queue takes no messages, so that accepted jobs "
        "wait, or the disk of the storage is full; `unavailable` while no jobs are accepted."
    )
    checks: dict[str, str] = Field(description="`ok` or the reason for each failed check.")
    processes: dict[str, str] | None = Field(
        default=None,
        description="With `verbose`: the state of each process, with the age of its heartbeat; "
        "`missing` if it should run and has none, `unknown` while the queue does not answer.",
    )
