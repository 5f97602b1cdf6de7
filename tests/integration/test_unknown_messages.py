"""An old worker leaves the unknown messages of a newer version to a newer worker."""

from typing import Any

import pytest
import redis

from shared.broker import Broker
from shared.contracts import ScoreText
from tests.integration.conftest import Workers
from tests.integration.probe_worker import DONE, PARKED
from tests.integration.test_redelivery import QUEUE, START_SECONDS, slice_of
from tests.support.servers import until


class ScoreSound(ScoreText):
    """Message of a future version."""

    topic = "score_sound"


def unknown_message(**titles: str) -> ScoreSound:
    return ScoreSound.model_validate(slice_of(**titles).model_dump())


@pytest.fixture
def client(redis_url: str) -> Any:
    return redis.Redis.from_url(redis_url, decode_responses=True)


def test_old_worker_continues_and_leaves_an_unknown_message_in_the_queue(
    workers: Workers, broker: Broker, client: Any
) -> None:
    # Given a worker that does not know the first message, and known messages after it
    old = workers.start("tests.integration.probe_worker", RAYON_BROKER_UNKNOWN_PAUSE_SECONDS="0.05")
    until(lambda: bool(broker.workers()), START_SECONDS, "the worker is present")
    broker.publish(unknown_message(unknown="x"))
    for number in range(20):
        broker.publish(slice_of(**{f"known{number}": "x"}))
    # Then it handles the known messages, although it receives the unknown one repeatedly
    until(lambda: client.hlen(DONE) == 20, START_SECONDS, "the known messages are done")
    until(
        lambda: bool(client.keys("rayon:redeliveries:*")),
        START_SECONDS,
        "the unknown message was received",
    )
    assert old.exit_code is None
    assert client.hget(DONE, "unknown") is None
    # and after its end the unknown message is still in the queue
    old.stop()
    until(lambda: client.llen(QUEUE) == 1, START_SECONDS, "the unknown message waits")
    assert '"task": "score_sound"' in client.lindex(QUEUE, 0)


def test_message_that_stays_unknown_becomes_a_dead_letter(
    workers: Workers, broker: Broker, client: Any
) -> None:
    workers.start(
        "tests.integration.probe_worker",
        RAYON_BROKER_UNKNOWN_PAUSE_SECONDS="0.05",
        RAYON_BROKER_UNKNOWN_TRIES="3",
    )
    broker.publish(unknown_message(unknown="x"))
    until(lambda: client.hget(PARKED, "unknown") == "1", START_SECONDS, "the message is parked")
    assert client.llen(QUEUE) == 0
