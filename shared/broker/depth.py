"""Queue depth, messages in progress, and active workers."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import redis

from shared.broker.transport import HANDLED_PREFIX, HANDLED_SECONDS
from shared.errors import Unavailable

#: Key under which a worker announces itself.
PRESENCE_PREFIX = "rayon:worker:"
#: Where Celery's Redis transport keeps what was delivered and not yet acknowledged.
UNACKED_KEY = "unacked"
#: Window of a rate, in seconds.
RATE_SECONDS = 60
#: A worker that has nothing to do asks Redis about once a second; after this long it is deaf.
ASKING_SECONDS = 15.0

#: Everything at one moment. Redis looks at the messages itself, which may be megabytes: at the end
#: of an entry of `unacked` is its queue, and in a message's head when it was published.
_LOOK = """
local running = {}
for _, entry in ipairs(redis.call('HVALS', KEYS[1])) do
  local queue = string.match(string.sub(entry, -200), '"([^"]*)"%]$')
  if queue then running[queue] = (running[queue] or 0) + 1 end
end
local found = {}
for number = 2, #KEYS do
  local queue = KEYS[number]
  local head = redis.call('LINDEX', queue, -1)
  local handled = 0
  for _, counted in ipairs(ARGV) do
    handled = handled + tonumber(redis.call('HGET', counted, queue) or 0)
  end
  found[number - 1] = {
    redis.call('LLEN', queue),
    running[queue] or 0,
    head and string.match(head, '"published_at": ?([%d.]+)') or '',
    handled,
  }
end
return found
"""


@dataclass(frozen=True)
class QueueDepth:
    """One queue at one moment, counted in messages; each is either waiting or running.

    Attributes:
        waiting: Nobody has them yet.
        running: A worker has them, until it has acknowledged them.
        oldest_published_at: Unix time at which the message at the head was sent; `None` if empty.
        handled_per_second: By all workers together, over the last minute.
    """

    queue: str
    waiting: int
    running: int
    oldest_published_at: float | None
    handled_per_second: float = 0.0


class WorkerState(StrEnum):
    """Evidence that a worker consumes."""

    #: It works on messages.
    WORKING = "working"
    #: It has nothing to do, and asks for messages.
    READY = "ready"
    #: It announces itself, has nothing to do, and does not ask.
    DEAF = "deaf"


@dataclass(frozen=True)
class Worker:
    """A worker that announced itself within the last seconds.

    Attributes:
        seconds_since_asked: Since Redis last answered it what there is to do; `None` before.
    """

    name: str
    queues: tuple[str, ...]
    releases: tuple[str, ...]
    running: int
    handled: int
    seconds_since_consumed: float | None
    seconds_since_asked: float | None = None

    @property
    def state(self) -> WorkerState:
        """What it does, as far as that is proven."""
        if self.running:
            return WorkerState.WORKING
        signs = [
            seconds
            for seconds in (self.seconds_since_asked, self.seconds_since_consumed)
            if seconds is not None
        ]
        return WorkerState.READY if min(signs, default=60) <= ASKING_SECONDS else WorkerState.DEAF


def queue_depths(client: redis.Redis, queues: Sequence[str]) -> dict[str, QueueDepth]:
    """Count the messages of queues, all at one moment. Raises `Unavailable`."""
    current = int(time.time() // HANDLED_SECONDS)
    # The current one is not over; its rate would be too low.
    counted = range(current - RATE_SECONDS // HANDLED_SECONDS, current)
    keys = [UNACKED_KEY, *queues]
    arguments = [*keys, *(f"{HANDLED_PREFIX}{number}" for number in counted)]
    try:
        found = cast(list[Any], client.eval(_LOOK, len(keys), *arguments))
    except redis.RedisError as error:
        raise Unavailable(f"The message queue does not answer: {error}") from error
    return {
        queue: QueueDepth(
            queue,
            waiting,
            running,
            float(published) if published else None,
            handled / RATE_SECONDS,
        )
        for queue, (waiting, running, published, handled) in zip(queues, found, strict=True)
    }


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


def _worker(fields: dict[str, Any]) -> Worker:
    return Worker(
        name=fields["name"],
        queues=tuple(fields["queues"]),
        releases=tuple(fields["releases"]),
        running=fields["running"],
        handled=fields["handled"],
        seconds_since_consumed=fields["seconds_since_consumed"],
        seconds_since_asked=fields.get("seconds_since_asked"),
    )
