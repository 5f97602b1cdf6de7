"""Queue figures equal the true numbers of messages, with real Redis and Celery workers."""

import time
from contextlib import suppress
from queue import Empty
from typing import Any

import pytest
import redis
from kombu import Connection

from shared.broker import Broker, WorkerState
from shared.broker.transport import Transport
from shared.settings import BrokerSettings
from tests.integration.conftest import VISIBILITY_SECONDS, Workers
from tests.integration.probe_worker import DONE
from tests.integration.queue_truth import QUEUE, park, sample, truth
from tests.support.servers import until

WORKER = "tests.integration.probe_worker"
JOBS = 1_000
START_SECONDS = 30


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


def test_every_job_is_counted_once_at_every_moment(
    workers: Workers, broker: Broker, client: redis.Redis
) -> None:
    # Given a thousand waiting jobs
    ids = park(broker, JOBS)
    parked = sample(broker, client, ids, lambda: True)
    assert broker.depth(QUEUE).waiting == JOBS

    # When two workers process them, and one of them is killed and restarted at a third
    probe, _ = workers.start(WORKER), workers.start(WORKER)
    early = sample(broker, client, ids, lambda: client.hlen(DONE) > JOBS // 3)
    probe.kill()
    probe.start()
    late = sample(broker, client, ids, lambda: client.hlen(DONE) == JOBS)

    # Then no sample misses a job or counts it twice
    for samples in (parked, early, late):
        assert (samples.error, samples.hidden, samples.twice) == (0, 0, 0)
    assert early.count + late.count > 30
    assert early.running > 2
    until(lambda: truth(client).left == 0, 4 * VISIBILITY_SECONDS, "every message is acknowledged")
    depth = broker.depth(QUEUE)
    assert (depth.waiting, depth.running) == (0, 0)


def test_jobs_held_by_a_killed_worker_are_still_counted(
    workers: Workers, broker: Broker, client: redis.Redis
) -> None:
    probe = workers.start(WORKER)
    until(lambda: bool(broker.workers()), START_SECONDS, "the worker is present")
    ids = park(broker, 20, "slow")
    until(lambda: broker.depth(QUEUE).running == 4, START_SECONDS, "each thread has a job")
    probe.kill()
    left = truth(client)
    depth = broker.depth(QUEUE)
    assert depth.waiting + depth.running == left.left
    assert left.waiting | left.held | left.done == ids


def test_rate_covers_the_messages_of_all_workers(
    workers: Workers, broker: Broker, client: redis.Redis
) -> None:
    workers.start(WORKER)
    workers.start(WORKER)
    park(broker, 120, "fine")
    until(
        lambda: truth(client).left == 0 == broker.depth(QUEUE).waiting,
        60,
        "every message is handled",
    )
    # The rate consists of intervals of five seconds, and a running interval does not count yet.
    until(lambda: broker.depth(QUEUE).handled_per_second == 120 / 60, 10, "the rate is right")


def test_idle_worker_is_ready_because_it_polls(workers: Workers, broker: Broker) -> None:
    workers.start(WORKER)
    until(lambda: bool(broker.workers()), START_SECONDS, "the worker is present")

    def is_ready() -> bool:
        (worker,) = broker.workers()
        return worker.state is WorkerState.READY

    until(is_ready, START_SECONDS, "the worker has polled")
    time.sleep(3)
    (worker,) = broker.workers()
    assert worker.seconds_since_consumed is None
    assert worker.seconds_since_asked is not None
    assert worker.seconds_since_asked < 3


def test_idle_worker_takes_a_new_message_at_once(
    workers: Workers, broker: Broker, client: redis.Redis
) -> None:
    workers.start(WORKER)
    until(lambda: bool(broker.workers()), START_SECONDS, "the worker is present")
    seconds = []
    for _ in range(5):
        time.sleep(0.3)
        client.delete(DONE)
        started = time.perf_counter()
        park(broker, 1, "fine")
        while not client.hlen(DONE):
            assert time.perf_counter() - started < 10
            time.sleep(0.001)
        seconds.append(time.perf_counter() - started)
    # A worker that polled only once a second would be later in most cases.
    assert sorted(seconds)[2] < 0.3


def test_requeued_message_is_kept_when_its_old_delivery_is_acknowledged(
    broker_settings: BrokerSettings, client: redis.Redis
) -> None:
    # Given a message that a channel took, and requeued when its connection broke
    with Connection(broker_settings.url.get_secret_value(), transport=Transport) as connection:
        channel = connection.channel()
        channel.basic_publish(
            channel.prepare_message("x"), exchange="", routing_key="text.interactive"
        )
        channel.queue_declare("text.interactive")
        taken: list[Any] = []
        channel.basic_consume("text.interactive", False, taken.append, "tag")
        while not taken:
            with suppress(Empty):
                connection.drain_events(timeout=1)
        channel.qos.restore_unacked()
        # When its handler acknowledges it, then no error is raised and the message is queued once
        taken[0].ack()
        assert (client.llen("text.interactive"), client.hlen("unacked")) == (1, 0)
