"""Frozen records of the operator endpoints: queues, workers, dead letters, reviews."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rayon.answers import Answer, JsonObject


@dataclass(frozen=True)
class Queue:
    """Messages and workers of one queue. Each message is either waiting or running.

    Attributes:
        messages_per_second: Messages handled by all workers, averaged over one minute.
        workers: Workers that announced themselves within the last few seconds.
        workers_proven: Workers among these that are proven to consume messages.
    """

    queue: str
    waiting: int
    running: int
    oldest_seconds: float | None
    messages_per_second: float = 0.0
    workers: int = 0
    workers_proven: int = 0

    @classmethod
    def read(cls, body: JsonObject, name: str | None = None) -> "Queue":
        """Parse a queue, or the totals, which have no name of their own."""
        return cls(
            queue=name or body["queue"],
            waiting=body["waiting"],
            running=body["running"],
            oldest_seconds=body.get("oldest_seconds"),
            messages_per_second=body.get("messages_per_second", 0.0),
            workers=body.get("workers", 0),
            workers_proven=body.get("workers_proven", 0),
        )


@dataclass(frozen=True)
class Worker:
    """Worker that announced itself.

    Attributes:
        state: `working`, `ready`, or `deaf` (connected but not consuming).
        unloadable: Why it cannot load releases, by version.
    """

    name: str
    queues: tuple[str, ...]
    running: int
    handled: int
    seconds_since_consumed: float | None
    state: str
    unloadable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Loop:
    """Task, thread or handler of a process that repeats.

    Attributes:
        state: `ok`, `failing` (several failures in a row) or `late` (no success for too long).
        seconds_since_success: Time from its last success to the heartbeat of the process.
        row: Row that stopped it; empty if no row did.
        skipped: Row that it left out last, with the reason.
    """

    loop: str
    state: str
    seconds_since_success: float
    failures: int = 0
    failure: str = ""
    row: str = ""
    rows_skipped: int = 0
    skipped: str = ""

    @classmethod
    def read(cls, body: JsonObject) -> "Loop":
        """Parse a loop."""
        return cls(**{name: body[name] for name in cls.__dataclass_fields__ if name in body})


@dataclass(frozen=True)
class Process:
    """Process of the service, with the progress of its loops.

    Attributes:
        state: `ok`, `failing`, `late`, or `silent` (no heartbeat for half a minute).
    """

    name: str
    process: str
    state: str
    seconds_since_heartbeat: float
    loops: tuple[Loop, ...]

    @classmethod
    def read(cls, body: JsonObject) -> "Process":
        """Parse a process."""
        return cls(
            name=body["name"],
            process=body["process"],
            state=body["state"],
            seconds_since_heartbeat=body["seconds_since_heartbeat"],
            loops=tuple(Loop.read(one) for one in body["loops"]),
        )

    @property
    def seconds_since_success(self) -> float | None:
        """Time since the latest success of any loop, or `None` without loops."""
        ages = [one.seconds_since_success for one in self.loops]
        return min(ages) + self.seconds_since_heartbeat if ages else None


@dataclass(frozen=True)
class Queues:
    """All queues with their totals, workers, processes and the number of unfinished jobs.

    Attributes:
        missing_processes: Processes that should run and have no heartbeat.
    """

    items: tuple[Queue, ...]
    totals: Queue
    jobs_queued: int
    rows_to_feed: int
    workers: tuple[Worker, ...]
    raw: JsonObject = field(repr=False, compare=False)
    processes: tuple[Process, ...] = ()
    missing_processes: tuple[str, ...] = ()

    @classmethod
    def read(cls, body: JsonObject) -> "Queues":
        """Parse the answer of `/v1/queues`."""
        items = tuple(Queue.read(one) for one in body["items"])
        return cls(
            items=items,
            totals=Queue.read(body["totals"], "all"),
            jobs_queued=body.get("jobs_queued", 0),
            rows_to_feed=body.get("rows_to_feed", 0),
            workers=tuple(
                Worker(
                    name=one["name"],
                    queues=tuple(one["queues"]),
                    running=one["running"],
                    handled=one["handled"],
                    seconds_since_consumed=one.get("seconds_since_consumed"),
                    state=one.get("state", "ready"),
                    unloadable=one.get("unloadable", {}),
                )
                for one in body.get("workers", ())
            ),
            raw=body,
            processes=tuple(Process.read(one) for one in body.get("processes", ())),
            missing_processes=tuple(body.get("missing_processes", ())),
        )


@dataclass(frozen=True)
class DeadLetter:
    """Message that was given up after its last delivery failed.

    Attributes:
        jobs: Number of its jobs by status; only filled when the letter is fetched by its ID.
    """

    id: str
    topic: str
    error: str
    deliveries: int
    parked_at: datetime
    job_ids: tuple[str, ...]
    catalog_id: str | None
    release: str | None
    jobs: Mapping[str, int]
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def read(cls, body: JsonObject) -> "DeadLetter":
        """Parse a dead letter."""
        return cls(
            id=body["id"],
            topic=body["topic"],
            error=body["error"],
            deliveries=body["deliveries"],
            parked_at=datetime.fromisoformat(body["parked_at"]),
            job_ids=tuple(body.get("job_ids", ())),
            catalog_id=body.get("catalog_id"),
            release=body.get("release"),
            jobs=body.get("jobs", {}),
            raw=body,
        )


@dataclass(frozen=True)
class Review:
    """Answer selected for human review.

    Attributes:
        reason: `random`, or `uncertain` if the models were not confident.
        chance: Probability of being selected for either reason.
        image: Path of the image on the service, if there is one.
        label: True category, once somebody has recorded it.
    """

    job_id: str
    reason: str
    chance: float
    designation: str
    description: str
    image: str | None
    answer: Answer | None
    label: int | None
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def read(cls, body: JsonObject) -> "Review":
        """Parse a review."""
        result = body.get("result")
        return cls(
            job_id=body["job_id"],
            reason=body["reason"],
            chance=body["chance"],
            designation=body.get("designation", ""),
            description=body.get("description", ""),
            image=body.get("image"),
            answer=Answer.read(result, body["job_id"]) if result else None,
            label=body.get("label"),
            raw=body,
        )
