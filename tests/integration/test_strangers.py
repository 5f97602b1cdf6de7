"""A new version's messages and an old worker: what it does not know waits for somebody who does."""

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
    """Of a version that is not written yet."""

    topic = "score_sound"


def strange(**titles: str) -> ScoreSound:
    return ScoreSound.model_validate(slice_of(**titles).model_dump())


@pytest.fixture
def client(redis_url: str) -> Any:
    return redis.Redis.from_url(redis_url, decode_responses=True)


def test_old_worker_goes_on_and_leaves_the_message_to_a_new_one(
    workers: Workers, broker: Broker, client: Any
) -> None:
    # Given a worker that does not know the message, and work that it knows behind it
    old = workers.start("tests.integration.probe_worker", RAYON_BROKER_UNKNOWN_PAUSE_SECONDS="0.05")
    until(lambda: bool(broker.workers()), START_SECONDS, "the worker is there")
    broker.publish(strange(stranger="x"))
    for number in range(20):
        broker.publish(slice_of(**{f"known{number}": "x"}))
    # I expect it to do the work, however often it meets the message
    until(lambda: client.hlen(DONE) == 20, START_SECONDS, "the known are done")
    until(lambda: bool(client.keys("rayon:redeliveries:*")), START_SECONDS, "the stranger was met")
    assert old.ended is None
    assert client.hget(DONE, "stranger") is None
    # And the message to be there for a newer one, when the old one has gone
    old.stop()
    until(lambda: client.llen(QUEUE) == 1, START_SECONDS, "the stranger waits")
    assert '"task": "score_sound"' in client.lindex(QUEUE, 0)


def test_message_that_nobody_knows_becomes_a_dead_letter(
    workers: Workers, broker: Broker, client: Any
) -> None:
    workers.start(
        "tests.integration.probe_worker",
        RAYON_BROKER_UNKNOWN_PAUSE_SECONDS="0.05",
        RAYON_BROKER_UNKNOWN_TRIES="3",
    )
    broker.publish(strange(stranger="x"))
    until(lambda: client.hget(PARKED, "stranger") == "1", START_SECONDS, "it is parked")
    assert client.llen(QUEUE) == 0
