"""How much waits in the queues, what is being worked on, and who works."""

import json
from dataclasses import dataclass
from typing import Any, cast

import redis

from shared.errors import Unavailable

#: Key under which a worker announces itself.
PRESENCE_PREFIX = "rayon:worker:"
#: Where Celery's Redis transport keeps what was delivered and not yet acknowledged.
UNACKED_KEY = "unacked"


@dataclass(frozen=True)
class QueueDepth:
    """One queue at one moment, counted in messages.

    Attributes:
        oldest_published_at: Unix time at which the message at the head was sent; `None` if empty.
    """

    queue: str
    waiting: int
    running: int
    oldest_published_at: float | None


@dataclass(frozen=True)
class Worker:
    """A worker that announced itself within the last seconds."""

    name: str
    queues: tuple[str, ...]
    releases: tuple[str, ...]
    running: int
    handled: int
    seconds_since_consumed: float | None


def queue_depth(client: redis.Redis, queue: str) -> QueueDepth:
    """Count a queue's messages and read the age of its head. Raises `Unavailable`."""
    try:
        with client.pipeline() as pipe:
            pipe.llen(queue)
            pipe.lindex(queue, -1)
            pipe.hvals(UNACKED_KEY)
            waiting, head, unacked = pipe.execute()
    except redis.RedisError as error:
        raise Unavailable(f"The message queue does not answer: {error}") from error
    running = sum(1 for entry in unacked if json.loads(entry)[2] == queue)
    return QueueDepth(queue, int(waiting), running, _published_at(head))


def workers_present(client: redis.Redis) -> list[Worker]:
    """Read the announcements of all workers. Raises `Unavailable`."""
    try:
        keys = sorted(client.scan_iter(f"{PRESENCE_PREFIX}*", count=500))
        values = cast(list[bytes | None], client.mget(keys)) if keys else []
    except redis.RedisError as error:
        raise Unavailable(f"The message queue does not answer: {error}") from error
    return [_worker(json.loads(value)) for value in values if value is not None]


def memory_ratio(client: redis.Redis) -> float:
    """Share of the memory that Redis may use which it uses; 0 without a limit.

    Raises:
        Unavailable: It does not answer.
    """
    try:
        memory = client.info("memory")
    except redis.RedisError as error:
        raise Unavailable(f"The message queue does not answer: {error}") from error
    limit = int(memory.get("maxmemory", 0))
    return int(memory["used_memory"]) / limit if limit else 0.0


def _published_at(head: bytes | None) -> float | None:
    if head is None:
        return None
    value = json.loads(head).get("headers", {}).get("published_at")
    return float(value) if value is not None else None


def _worker(fields: dict[str, Any]) -> Worker:
    return Worker(
        name=fields["name"],
        queues=tuple(fields["queues"]),
        releases=tuple(fields["releases"]),
        running=fields["running"],
        handled=fields["handled"],
        seconds_since_consumed=fields["seconds_since_consumed"],
    )
