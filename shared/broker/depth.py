"""Queue depth, messages in progress, and active workers."""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

import redis

from shared.broker.transport import HANDLED_PREFIX, HANDLED_SECONDS, SHARE_FUNCTIONS
from shared.errors import Unavailable
from shared.progress import PROGRESS

#: Prefix of the keys under which workers announce themselves.
PRESENCE_PREFIX = "rayon:worker:"
#: Hash in which Celery's Redis transport keeps delivered but unacknowledged messages.
UNACKED_KEY = "unacked"
#: Window of a rate, in seconds.
RATE_SECONDS = 60
#: An idle worker polls Redis about every two seconds; without polls for this long it is deaf.
ASKING_SECONDS = 15.0

#: Reads all queues in one snapshot. It runs in Redis because the messages may take megabytes. An
#: entry of `unacked` ends with its queue, and the headers of a message hold `published_at`.
_READ_DEPTHS = (
    SHARE_FUNCTIONS
    + """
local running = {}
for _, entry in ipairs(redis.call('HVALS', KEYS[1])) do
  local queue = string.match(string.sub(entry, -200), '"([^"]*)"%]$')
  if queue then running[queue] = (running[queue] or 0) + 1 end
end
local function waiting_in(queue)
  local lists = {queue}
  for _, share in ipairs(redis.call('LRANGE', shares_of(queue), 0, -1)) do
    lists[#lists + 1] = list_of(queue, share)
  end
  local count, oldest = 0, nil
  for _, list in ipairs(lists) do
    count = count + redis.call('LLEN', list)
    local head = redis.call('LINDEX', list, -1)
    local published = head and tonumber(string.match(head, '"published_at": ?([%d.]+)'))
    if published and (not oldest or published < oldest) then oldest = published end
  end
  return count, oldest and string.format('%.6f', oldest) or ''
end
local found = {}
for number = 2, #KEYS do
  local queue = KEYS[number]
  local handled = 0
  for _, counted in ipairs(ARGV) do
    handled = handled + tonumber(redis.call('HGET', counted, queue) or 0)
  end
  local waiting, oldest = waiting_in(queue)
  found[number - 1] = {waiting, running[queue] or 0, oldest, handled}
end
return found
"""
)


@dataclass(frozen=True)
class QueueDepth:
    """Messages of one queue in a snapshot; each message is either waiting or running.

    Attributes:
        waiting: Messages that no worker has received.
        running: Messages that a worker has received and not yet acknowledged.
        oldest_published_at: Unix time at which the oldest waiting message was published, or `None`.
        handled_per_second: Messages handled by all workers, averaged over the last minute.
    """

    queue: str
    waiting: int
    running: int
    oldest_published_at: float | None
    handled_per_second: float = 0.0


class WorkerState(StrEnum):
    """Activity of a worker, as far as it is observed."""

    #: It handles messages.
    WORKING = "working"
    #: It is idle and polls for messages.
    READY = "ready"
    #: It announces itself, but is idle and does not poll.
    DEAF = "deaf"


@dataclass(frozen=True)
class Worker:
    """A worker that announced itself within the last seconds.

    Attributes:
        seconds_since_consumed: Age of its last handled message, or `None` if there was none.
        seconds_since_asked: Age of the last answer to its poll, or `None` if there was none.
        unloadable: Why releases cannot be loaded, by version.
    """

    name: str
    queues: tuple[str, ...]
    releases: tuple[str, ...]
    running: int
    handled: int
    seconds_since_consumed: float | None
    seconds_since_asked: float | None = None
    unloadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def state(self) -> WorkerState:
        """State derived from running messages and the latest sign of activity."""
        if self.running:
            return WorkerState.WORKING
        signs = [
            seconds
            for seconds in (self.seconds_since_asked, self.seconds_since_consumed)
            if seconds is not None
        ]
        return WorkerState.READY if min(signs, default=60) <= ASKING_SECONDS else WorkerState.DEAF


def queue_depths(client: redis.Redis, queues: Sequence[str]) -> dict[str, QueueDepth]:
    """Return the depths of queues in one snapshot. Raises `Unavailable`."""
    current = int(time.time() // HANDLED_SECONDS)
    # The current interval is incomplete and would lower the rate.
    counted = range(current - RATE_SECONDS // HANDLED_SECONDS, current)
    keys = [UNACKED_KEY, *queues]
    arguments = [*keys, *(f"{HANDLED_PREFIX}{number}" for number in counted)]
    try:
        found = cast(list[Any], client.eval(_READ_DEPTHS, len(keys), *arguments))
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
    found = []
    for key, value in zip(keys, values, strict=True):
        if value is None:
            continue
        try:
            found.append(_worker(json.loads(value)))
        except (KeyError, TypeError, ValueError) as error:
            # An announcement of another version must not hide those of all other workers.
            PROGRESS.skipped("workers", key.decode().removeprefix(PRESENCE_PREFIX), error)
    return found


def unloadable_everywhere(workers: Iterable[Worker]) -> frozenset[str]:
    """Return the releases that no worker of some queue can load, so that their messages wait."""
    by_queue: dict[str, list[Worker]] = defaultdict(list)
    for worker in workers:
        for queue in worker.queues:
            by_queue[queue].append(worker)
    return frozenset(
        version
        for consumers in by_queue.values()
        for version in set.intersection(*(set(one.unloadable) for one in consumers))
    )


def memory_ratio(client: redis.Redis) -> float:
    """Return the used share of the memory limit of Redis, or 0 without a limit.

    Raises:
        Unavailable: Redis does not answer.
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
        unloadable=fields.get("unloadable", {}),
    )
