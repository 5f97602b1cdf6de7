"""No message is lost when a real Celery worker is killed, fails or loses its connection."""

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
#: A lost message is redelivered after the visibility timeout, at the next check; checks run at
#: intervals of half the timeout.
LOST_SECONDS = 4 * VISIBILITY_SECONDS + START_SECONDS


class Counts:
    """Counts that the probe worker recorded in Redis."""

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
    until(lambda: bool(broker.workers()), START_SECONDS, "the worker is present")
    return worker


def slice_of(**titles: str) -> ScoreText:
    items = tuple(
        TextItem(job_id=id_, designation=title, description="") for id_, title in titles.items()
    )
    return ScoreText(trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=items)


def restart_until_settled(
    probe: WorkerProcess, broker: Broker, counts: Counts, titles: dict[str, str]
) -> None:
    """Restart the worker after each end and republish lost items until every item is settled.

    In production the supervisor restarts workers and the gateway requeues lost jobs. Both are
    needed, because a killed worker may lose the message that it was just taking (celery#7950).
    """

    def is_settled_everywhere() -> bool:
        if probe.exit_code is not None:
            probe.start()
        if not is_settled(broker):
            return False
        lost = titles.keys() - counts.read(DONE).keys() - counts.read(PARKED).keys()
        for id_ in lost:
            broker.publish(slice_of(**{id_: titles[id_]}))
        return not lost

    until(is_settled_everywhere, 4 * LOST_SECONDS, "every item is done or parked")


def is_settled(broker: Broker) -> bool:
    """Return True if no message waits or runs, neither work nor dead letters."""
    depths = [broker.depth(queue) for queue in (QUEUE, "fusion.interactive")]
    return all(depth.waiting == depth.running == 0 for depth in depths)


def test_message_of_a_killed_worker_is_redelivered(
    probe: WorkerProcess, broker: Broker, counts: Counts
) -> None:
    broker.publish(slice_of(a="die once"))
    until(lambda: probe.exit_code is not None, START_SECONDS, "the worker has ended")
    assert counts.read(TRIES) == {"a": 1}
    assert broker.depth(QUEUE).running == 1
    probe.start()
    until(lambda: counts.read(DONE) == {"a": 1}, LOST_SECONDS, "the message is redelivered")
    assert counts.read(TRIES) == {"a": 2}
    until(lambda: is_settled(broker), START_SECONDS, "the message is acknowledged")


def test_item_that_fails_in_its_handler_is_parked_and_the_others_are_done(
    probe: WorkerProcess, broker: Broker, counts: Counts
) -> None:
    broker.publish(slice_of(a="fine", b="break", c="fine"))
    until(lambda: counts.read(PARKED) == {"b": 1}, START_SECONDS, "the bad item is parked")
    until(lambda: counts.read(DONE) == {"a": 1, "c": 1}, START_SECONDS, "the others are done")
    # One attempt in the slice, then attempts alone up to the limit of two redeliveries.
    assert counts.read(TRIES)["b"] == 1 + 2
    until(lambda: is_settled(broker), START_SECONDS, "no message is left")


def test_item_that_kills_every_worker_is_parked_and_the_others_are_done(
    probe: WorkerProcess, broker: Broker, counts: Counts
) -> None:
    titles = {"a": "fine", "b": "die", "c": "fine"}
    broker.publish(slice_of(**titles))
    restart_until_settled(probe, broker, counts, titles)
    assert set(counts.read(PARKED)) == {"b"}
    assert set(counts.read(DONE)) == {"a", "c"}


def test_messages_that_ran_beside_a_killing_one_are_done(
    workers: Workers, broker: Broker, counts: Counts
) -> None:
    innocent = {f"innocent-{number}": "slow" for number in range(7)}
    titles = {**innocent, "b": "die"}
    for id_, title in titles.items():
        broker.publish(slice_of(**{id_: title}))
    probe = workers.start("tests.integration.probe_worker", RAYON_WORKER_THREADS="8")
    restart_until_settled(probe, broker, counts, titles)
    assert set(counts.read(PARKED)) == {"b"}
    assert set(counts.read(DONE)) == innocent.keys()


def test_worker_consumes_again_after_redis_was_restarted(
    probe: WorkerProcess, broker: Broker, counts: Counts, redis_server: RedisServer
) -> None:
    broker.publish(slice_of(a="fine"))
    until(lambda: counts.read(DONE) == {"a": 1}, START_SECONDS, "the worker consumes")
    redis_server.restart()
    broker.publish(slice_of(b="fine"))
    # A message that was being taken when the connection broke is lost and republished. A worker
    # that no longer consumes would leave it in the queue.
    restart_until_settled(probe, broker, counts, {"b": "fine"})
    assert set(counts.read(DONE)) == {"a", "b"}
    assert probe.starts == 1


def test_message_published_without_a_running_worker_is_handled_later(
    probe: WorkerProcess, broker: Broker, counts: Counts
) -> None:
    broker.publish(slice_of(a="fine"))
    until(lambda: counts.read(DONE) == {"a": 1}, START_SECONDS, "the worker consumes")
    assert probe.stop() == 0
    broker.publish(slice_of(b="fine"))
    assert broker.depth(QUEUE).waiting == 1
    probe.start()
    until(lambda: counts.read(DONE) == {"a": 1, "b": 1}, START_SECONDS, "the message is handled")
