"""Looks at queue figures and at the truth beside them, again and again.

The truth comes from the messages themselves and from what the probe worker notes when it has
handled one, not from what is tested: of jobs with one message each, those are left whose message
is not acknowledged. It is read in one transaction, before and after the figures; as nothing is
added meanwhile, right figures lie between the two.
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


@dataclass(frozen=True)
class Truth:
    """Where the jobs are at one moment: counted one by one."""

    waiting: frozenset[str]
    held: frozenset[str]
    done: frozenset[str]

    @property
    def left(self) -> int:
        """Jobs whose message is not acknowledged, wherever it is."""
        return len(self.waiting | self.held)


@dataclass
class Samples:
    """Observed figures.

    Attributes:
        error: By how many messages `waiting + running` was wrong, at the worst moment.
        hidden: Jobs that were neither done nor in any message, at the worst moment.
        twice: Jobs that were in two messages, at the worst moment.
        running: Most messages that were seen running.
    """

    count: int = 0
    error: int = 0
    hidden: int = 0
    twice: int = 0
    running: int = 0
    wrong_moments: int = 0
    seconds: list[float] = field(default_factory=list)


def park(broker: Broker, count: int, title: str = "brief") -> frozenset[str]:
    """Send messages of one job each; returns the jobs' ids."""
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
    """Look until something is true."""
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
    """Read every message, and what is done, in one moment."""
    with client.pipeline() as pipe:
        pipe.lrange(QUEUE, 0, -1)
        pipe.hvals(UNACKED_KEY)
        pipe.hkeys(DONE)
        waiting, held, done = cast(list[list[bytes]], pipe.execute())
    return Truth(
        frozenset().union(*map(_jobs, waiting)),
        frozenset().union(*map(_jobs, held)),
        frozenset(one.decode() for one in done),
    )


def _note(samples: Samples, ids: frozenset[str], before: Truth, shown: int, after: Truth) -> None:
    # What no message holds and nobody has handled is on its way and cannot be seen.
    hidden = [len(ids - one.waiting - one.held - one.done) for one in (before, after)]
    twice = max(len(one.waiting & one.held) for one in (before, after))
    most, least = before.left + hidden[0], after.left + hidden[1]
    error = max(0, shown - most, least - shown)
    samples.count += 1
    samples.error = max(samples.error, error, *hidden)
    samples.hidden = max(samples.hidden, *hidden)
    samples.twice = max(samples.twice, twice)
    samples.wrong_moments += bool(error or any(hidden) or twice)


@cache
def _jobs(raw: bytes) -> frozenset[str]:
    """The jobs of a message, as it waits, or as it stands in `unacked`."""
    found = json.loads(raw)
    message = found if isinstance(found, dict) else found[0]
    payload = json.loads(b64decode(message["body"]))[0][0]
    return frozenset(item["job_id"] for item in payload["items"])
