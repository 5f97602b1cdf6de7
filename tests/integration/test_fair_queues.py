"""Users take turns at a queue, with the real transport and a real Redis."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty
from typing import Any

import pytest
import redis
from kombu import Connection

from shared.broker import Broker
from shared.broker.transport import Transport
from shared.contracts import ImageItem, Lane, ScoreImage
from shared.settings import BrokerSettings

QUEUE = "image.interactive"
Consumer = Callable[[int], list[Any]]


def publish(broker: Broker, user: str, count: int, uri: str = "images/ab/abc") -> None:
    for number in range(count):
        items = (ImageItem(job_id=f"{user}-{number}", uri=uri),)
        message = ScoreImage(
            trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=items, user_id=user
        )
        broker.publish(message)


@pytest.fixture
def take(broker_settings: BrokerSettings) -> Iterator[Consumer]:
    """Return a function that takes a number of messages, without acknowledging them."""
    with Connection(broker_settings.url.get_secret_value(), transport=Transport) as connection:
        channel = connection.channel()
        taken: list[Any] = []
        channel.queue_declare(QUEUE)
        channel.basic_consume(QUEUE, False, taken.append, "tag")

        def take(count: int) -> list[Any]:
            before = len(taken)
            while len(taken) < before + count:
                with suppress(Empty):
                    connection.drain_events(timeout=1)
            return taken[before : before + count]

        yield take


def jobs(messages: list[Any]) -> list[str]:
    return [message.decode()[0][0]["items"][0]["job_id"] for message in messages]


def test_single_image_of_a_user_waits_for_one_of_another(broker: Broker, take: Consumer) -> None:
    # Given a user who sent two thousand images, of which a worker has one
    publish(broker, "flood", 2_000)
    assert jobs(take(1)) == ["flood-0"]

    # When another user sends one, then it is second in turn
    publish(broker, "single", 1)
    assert "single-0" in jobs(take(5))


def test_image_behind_many_unseen_ones_is_found(broker: Broker, take: Consumer) -> None:
    publish(broker, "flood", 700)
    publish(broker, "single", 1)
    assert "single-0" in jobs(take(6))


def test_users_take_turns_and_each_user_keeps_the_order(broker: Broker, take: Consumer) -> None:
    publish(broker, "ann", 4)
    publish(broker, "bob", 2)
    publish(broker, "cid", 1)
    assert jobs(take(7)) == ["ann-0", "bob-0", "cid-0", "ann-1", "bob-1", "ann-2", "ann-3"]


def test_message_without_a_user_is_handled_in_its_turn(
    broker: Broker, take: Consumer, broker_settings: BrokerSettings
) -> None:
    """A publisher of the previous version names no user."""
    publish(broker, "ann", 2)
    payload = {"items": [{"job_id": "old"}]}
    with Connection(broker_settings.url.get_secret_value(), transport=Transport) as connection:
        channel = connection.channel()
        content: tuple[Any, ...] = ([payload], {}, {})
        connection.Producer(channel).publish(content, routing_key=QUEUE, serializer="json")
    assert jobs(take(3)) == ["ann-0", "old", "ann-1"]


def test_text_that_looks_like_a_header_names_no_user(broker: Broker, take: Consumer) -> None:
    publish(broker, "ann", 2, uri='"share": "bob"')
    publish(broker, "cid", 1)
    assert jobs(take(3)) == ["ann-0", "cid-0", "ann-1"]


def test_returned_message_is_the_next_of_its_user(broker: Broker, take: Consumer) -> None:
    publish(broker, "ann", 3)
    (first,) = take(1)
    first.requeue()
    assert jobs(take(3)) == ["ann-0", "ann-1", "ann-2"]


def test_depth_counts_waiting_messages_of_all_users(broker: Broker, take: Consumer) -> None:
    publish(broker, "ann", 5)
    publish(broker, "bob", 3)
    oldest = broker.depth(QUEUE).oldest_published_at
    assert (broker.depth(QUEUE).waiting, broker.depth(QUEUE).running) == (8, 0)

    take(2)
    publish(broker, "cid", 1)

    depth = broker.depth(QUEUE)
    assert (depth.waiting, depth.running) == (7, 2)
    assert oldest is not None
    assert depth.oldest_published_at is not None
    assert oldest < depth.oldest_published_at


def test_handled_queue_leaves_nothing_in_redis(
    broker: Broker, take: Consumer, redis_url: str
) -> None:
    publish(broker, "ann", 3)
    publish(broker, "bob", 3)
    for message in take(6):
        message.ack()
    client = redis.Redis.from_url(redis_url)
    assert list(client.scan_iter("rayon:share*")) == []
    assert client.llen(QUEUE) == client.hlen("unacked") == 0
