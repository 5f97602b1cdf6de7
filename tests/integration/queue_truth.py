"""Repeated comparison of the queue figures with the true numbers of messages.

The true numbers do not come from the tested code, but from the messages themselves and from the
jobs that the probe worker records as done. Each job has one message; a job is left as long as its
message is not acknowledged. The true numbers are read in one transaction each, before and after the
figures. No message is added meanwhile, so correct figures lie between the two.
"""

import json
import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import cast

import redis

from shared.broker import Broker
from shared.broker.depth import UNACKED_KEY
from shared.contracts import Lane, ScoreText, TextItem, all_queues, queue_name
from tests.integration.probe_worker import DONE

QUEUE = queue_name("text", Lane.INTERACTIVE)
#: Returns the messages that arrived, and those that are divided by user.
_READ_WAITING = """
local found = redis.call('LRANGE', KEYS[1], 0, -1)
for _, list in ipairs(redis.call('KEYS', 'rayon:share:' .. KEYS[1] .. ':*')) do
  for _, message in ipairs(redis.call('LRANGE', list, 0, -1)) do found[#found + 1] = message end
end
return found
"""


@dataclass(frozen=True)
class Truth:
    """Ids of waiting, held and finished jobs at one moment."""

    waiting: frozenset[str]
    held: frozenset[str]
    done: frozenset[str]

    @property
    def left(self) -> int:
        """Number of jobs whose message is not acknowledged, waiting or held."""
        return len(self.waiting | self.held)


@dataclass
class Samples:
    """Errors of the figures over all samples.

    Attributes:
        count: Number of samples.
        error: Largest error of `waiting + running`, in messages.
        hidden: Largest number of jobs that were neither done nor in any message.
        twice: Largest number of jobs that were in two messages.
        running: Largest number of running messages.
        wrong_moments: Number of samples with an error.
        seconds: Duration of each query of the figures.
    """

    count: int = 0
    error: int = 0
    hidden: int = 0
    twice: int = 0
    running: int = 0
    wrong_moments: int = 0
    seconds: list[float] = field(default_factory=list)


def park(broker: Broker, count: int, title: str = "brief") -> frozenset[str]:
    """Publish messages of one job each and return the ids of the jobs."""
    ids = [f"job-{number}" for number in range(count)]
    for id_ in ids:
        item = TextItem(job_id=id_, designation=title, description="")
        broker.publish(
            ScoreText(trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=(item,))
        )
    return frozenset(ids)


def sample(
    broker: Broker,
    client: redis.Redis,
    ids: frozenset[str],
    until: Callable[[], bool],
    *,
    pause_seconds: float = 0.001,
) -> Samples:
    """Compare figures and true numbers until a condition is true."""
    samples = Samples()
    while not until():
        before = truth(client)
        started = time.perf_counter()
        depth = broker.depths(all_queues())[QUEUE]
        samples.seconds.append(time.perf_counter() - started)
        after = truth(client)
        _note(samples, ids, before, depth.waiting + depth.running, after)
        samples.running = max(samples.running, depth.running)
        time.sleep(pause_seconds)
    return samples


def truth(client: redis.Redis) -> Truth:
    """Read all messages and the finished jobs in one transaction."""
    with client.pipeline() as pipe:
        pipe.eval(_READ_WAITING, 1, QUEUE)
        pipe.hvals(UNACKED_KEY)
        pipe.hkeys(DONE)
        waiting, held, done = cast(list[list[bytes]], pipe.execute())
    return Truth(
        frozenset().union(*map(_jobs, waiting)),
        frozenset().union(*map(_jobs, held)),
        frozenset(id_.decode() for id_ in done),
    )


def _note(samples: Samples, ids: frozenset[str], before: Truth, shown: int, after: Truth) -> None:
    # A job that is neither done nor in a message is being moved, and no figure can count it.
    hidden = [len(ids - at.waiting - at.held - at.done) for at in (before, after)]
    twice = max(len(at.waiting & at.held) for at in (before, after))
    most, least = before.left + hidden[0], after.left + hidden[1]
    error = max(0, shown - most, least - shown)
    samples.count += 1
    samples.error = max(samples.error, error, *hidden)
    samples.hidden = max(samples.hidden, *hidden)
    samples.twice = max(samples.twice, twice)
    samples.wrong_moments += bool(error or any(hidden) or twice)


@cache
def _jobs(raw: bytes) -> frozenset[str]:
    """Return the jobs of a message, in the format of the queue or of `unacked`."""
    found = json.loads(raw)
    message = found if isinstance(found, dict) else found[0]
    payload = json.loads(b64decode(message["body"]))[0][0]
    return frozenset(item["job_id"] for item in payload["items"])
