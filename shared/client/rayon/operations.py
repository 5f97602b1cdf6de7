"""What operators see, as frozen records: queues, workers, dead letters, reviews."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rayon.answers import Answer, JsonObject


@dataclass(frozen=True)
class Queue:
    """One queue, counted in messages; each is either waiting or running.

    Attributes:
        messages_per_second: Handled by all workers, over a minute.
        workers: That announced themselves within the last seconds.
        workers_proven: Of these, the ones that are proven to consume.
    """

    queue: str
    waiting: int
    running: int
    oldest_seconds: float | None
    messages_per_second: float = 0.0
    workers: int = 0
    workers_proven: int = 0

    @classmethod
    def read(cls, said: JsonObject, name: str | None = None) -> "Queue":
        """Take a queue out of what the service said, or the totals, which have no name."""
        return cls(
            queue=name or said["queue"],
            waiting=said["waiting"],
            running=said["running"],
            oldest_seconds=said.get("oldest_seconds"),
            messages_per_second=said.get("messages_per_second", 0.0),
            workers=said.get("workers", 0),
            workers_proven=said.get("workers_proven", 0),
        )


@dataclass(frozen=True)
class Worker:
    """A worker that announced itself.

    Attributes:
        state: `working`, `ready`, or `deaf`: it does not ask for messages.
    """

    name: str
    queues: tuple[str, ...]
    running: int
    handled: int
    seconds_since_consumed: float | None
    state: str


@dataclass(frozen=True)
class Queues:
    """What waits and runs, and how many jobs are unfinished."""

    items: tuple[Queue, ...]
    totals: Queue
    jobs_queued: int
    rows_to_feed: int
    workers: tuple[Worker, ...]
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def read(cls, said: JsonObject) -> "Queues":
        """Take the queues out of what the service said."""
        items = tuple(Queue.read(one) for one in said["items"])
        return cls(
            items=items,
            totals=Queue.read(said["totals"], "all"),
            jobs_queued=said.get("jobs_queued", 0),
            rows_to_feed=said.get("rows_to_feed", 0),
            workers=tuple(
                Worker(
                    name=one["name"],
                    queues=tuple(one["queues"]),
                    running=one["running"],
                    handled=one["handled"],
                    seconds_since_consumed=one.get("seconds_since_consumed"),
                    state=one.get("state", "ready"),
                )
                for one in said.get("workers", ())
            ),
            raw=said,
        )


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up, and what it was about.

    Attributes:
        jobs: How many of its jobs stand how; only of one that was asked for by its id.
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
    def read(cls, said: JsonObject) -> "DeadLetter":
        """Take a dead letter out of what the service said."""
        return cls(
            id=said["id"],
            topic=said["topic"],
            error=said["error"],
            deliveries=said["deliveries"],
            parked_at=datetime.fromisoformat(said["parked_at"]),
            job_ids=tuple(said.get("job_ids", ())),
            catalog_id=said.get("catalog_id"),
            release=said.get("release"),
            jobs=said.get("jobs", {}),
            raw=said,
        )


@dataclass(frozen=True)
class Review:
    """An answer that a person is asked to look at.

    Attributes:
        reason: `random`, or `uncertain`: the models doubted.
        chance: How likely it was to be chosen, by either reason.
        image: Where the service has its image, if there is one.
        label: The true category, once somebody has told it.
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
    def read(cls, said: JsonObject) -> "Review":
        """Take a review out of what the service said."""
        result = said.get("result")
        return cls(
            job_id=said["job_id"],
            reason=said["reason"],
            chance=said["chance"],
            designation=said.get("designation", ""),
            description=said.get("description", ""),
            image=said.get("image"),
            answer=Answer.read(result, said["job_id"]) if result else None,
            label=said.get("label"),
            raw=said,
        )
