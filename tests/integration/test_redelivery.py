"""A real Celery worker is killed, poisoned and cut off; no message is lost."""

from typing import cast

import pytest
import redis

from shared.broker import Broker
from shared.contracts import Lane, ScoreText, TextItem
from tests.integration.conftest import VISIBILITY_SECONDS, WorkerProcess, Workers
from tests.integration.probe_worker import DONE, PARKED, TRIES
from tests.support.servers import RedisServer, until

QUEUE = "text.interactive"
START_SECONDS = 30
#: A lost message comes again after the timeout, at the next of the looks each half of it.
LOST_SECONDS = 4 * VISIBILITY_SECONDS + START_SECONDS


class Counts:
    """Counts that the probe recorded in Redis."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True)

    def read(self, name: str) -> dict[str, int]:
        try:
            found = cast(dict[str, str], self._client.hgetall(name))
        except redis.RedisError:
            return {}
        return {job: int(count) for job, count in found.items()}


@pytest.fixture
def counts(redis_url: str) -> Counts:
    return Counts(redis_url)


@pytest.fixture
def probe(workers: Workers, broker: Broker) -> WorkerProcess:
    worker = workers.start("tests.integration.probe_worker")
    until(lambda: bool(broker.workers()), START_SECONDS, "the worker is there")
    return worker


def slice_of(**titles: str) -> ScoreText:
    items = tuple(
        TextItem(job_id=id_, designation=title, description="") for id_, title in titles.items()
    )
    return ScoreText(trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=items)


def survive(probe: WorkerProcess, broker: Broker, counts: Counts, titles: dict[str, str]) -> None:
    """Start a worker again whenever it ended, and send again what was lost, until all is over.

    Both have their part in production, the supervisor and the sweeper: taking a message from Redis
    is not atomic (celery#7950), so a killed worker may lose the one it was just taking.
    """

    def is_over() -> bool:
        if probe.ended is not None:
            probe.start()
        if not is_settled(broker):
            return False
        lost = titles.keys() - counts.read(DONE).keys() - counts.read(PARKED).keys()
        for id_ in lost:
            broker.publish(slice_of(**{id_: titles[id_]}))
        return not lost

    until(is_over, 4 * LOST_SECONDS, "every item is done or parked")


def is_settled(broker: Broker) -> bool:
    """Nothing waits and nothing runs, neither work nor what was given up."""
    depths = [broker.depth(queue) for queue in (QUEUE, "fusion.interactive")]
    return all(depth.waiting == depth.running == 0 for depth in depths)


def test_message_of_a_killed_worker_comes_again(
    probe: WorkerProcess, broker: Broker, counts: Counts
) -> None:
    broker.publish(slice_of(a="die once"))
    until(lambda: probe.ended is not None, START_SECONDS, "the worker is dead")
    assert counts.read(TRIES) == {"a": 1}
    assert broker.depth(QUEUE).running == 1
    probe.start()
    until(lambda: counts.read(DONE) == {"a": 1}, LOST_SECONDS, "the message came again")
    assert counts.read(TRIES) == {"a": 2}
    until(lambda: is_settled(broker), START_SECONDS, "it is acknowledged")


def test_item_that_breaks_its_handler_is_parked_and_the_others_are_done(
    probe: WorkerProcess, broker: Broker, counts: Counts
) -> None:
    broker.publish(slice_of(a="fine", b="break", c="fine"))
    until(lambda: counts.read(PARKED) == {"b": 1}, START_SECONDS, "the bad item is parked")
    until(lambda: counts.read(DONE) == {"a": 1, "c": 1}, START_SECONDS, "the others are done")
    # Once in the slice, then alone until the limit of two redeliveries.
    assert counts.read(TRIES)["b"] == 1 + 2
    until(lambda: is_settled(broker), START_SECONDS, "nothing is left")


def test_item_that_kills_every_worker_is_parked_and_the_others_are_done(
    probe: WorkerProcess, broker: Broker, counts: Counts
) -> None:
    titles = {"a": "fine", "b": "die", "c": "fine"}
    broker.publish(slice_of(**titles))
    survive(probe, broker, counts, titles)
    assert set(counts.read(PARKED)) == {"b"}
    assert set(counts.read(DONE)) == {"a", "c"}


def test_messages_that_died_beside_the_one_to_blame_are_done(
    workers: Workers, broker: Broker, counts: Counts
) -> None:
    innocent = {f"innocent-{number}": "slow" for number in range(7)}
    titles = {**innocent, "b": "die"}
    for id_, title in titles.items():
        broker.publish(slice_of(**{id_: title}))
    probe = workers.start("tests.integration.probe_worker", RAYON_WORKER_THREADS="8")
    survive(probe, broker, counts, titles)
    assert set(counts.read(PARKED)) == {"b"}
    assert set(counts.read(DONE)) == innocent.keys()


def test_worker_consumes_again_after_redis_was_restarted(
    probe: WorkerProcess, broker: Broker, counts: Counts, redis_server: RedisServer
) -> None:
    broker.publish(slice_of(a="fine"))
    until(lambda: counts.read(DONE) == {"a": 1}, START_SECONDS, "it consumes")
    redis_server.restart()
    broker.publish(slice_of(b="fine"))
    # A message taken just when the connection broke is lost and sent again; a deaf worker would
    # leave it waiting in the queue.
    survive(probe, broker, counts, {"b": "fine"})
    assert set(counts.read(DONE)) == {"a", "b"}
    assert probe.starts == 1


def test_message_that_waits_while_no_worker_runs_is_not_lost(
    probe: WorkerProcess, broker: Broker, counts: Counts
) -> None:
    broker.publish(slice_of(a="fine"))
    until(lambda: counts.read(DONE) == {"a": 1}, START_SECONDS, "it consumes")
    assert probe.stop() == 0
    broker.publish(slice_of(b="fine"))
    assert broker.depth(QUEUE).waiting == 1
    probe.start()
    until(lambda: counts.read(DONE) == {"a": 1, "b": 1}, START_SECONDS, "it is handled")
