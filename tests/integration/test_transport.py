"""Messages between a queue and its consumer, with the real transport and a real Redis."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Empty
from typing import Any

import pytest
import redis
from kombu import Connection

from shared.broker import Broker
from shared.broker.transport import Transport
from shared.contracts import Lane, ScoreText, TextItem
from shared.settings import BrokerSettings

QUEUE = "text.interactive"


class Consumer:
    """A consumer of one queue, which keeps what it receives and acknowledges nothing."""

    def __init__(self, url: str) -> None:
        self.connection = Connection(url, transport=Transport)
        self.channel = self.connection.channel()
        self.received: list[Any] = []
        self.channel.queue_declare(QUEUE)
        self.channel.basic_consume(QUEUE, False, self.received.append, "tag")

    def receive(self) -> Any:
        """Receive one message and return it."""
        before = len(self.received)
        while len(self.received) == before:
            with suppress(Empty):
                self.connection.drain_events(timeout=5)
        return self.received[-1]

    def wait(self) -> None:
        """Find the queue empty, and leave a request for the next message with Redis."""
        with suppress(TimeoutError):
            while True:
                with suppress(Empty):
                    self.connection.drain_events(timeout=0.2)


@pytest.fixture
def consumer(broker_settings: BrokerSettings) -> Iterator[Consumer]:
    consumer = Consumer(broker_settings.url.get_secret_value())
    yield consumer
    consumer.connection.close()


@pytest.fixture
def client(redis_url: str) -> Any:
    return redis.Redis.from_url(redis_url, decode_responses=True)


def publish(broker: Broker) -> None:
    item = TextItem.of("job", "Piscine gonflable", "")
    broker.publish(
        ScoreText(trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=(item,), user_id="u")
    )


def places(client: Any) -> tuple[int, int]:
    """Return the number of messages in the queue, and of those without an acknowledgement."""
    return client.llen(QUEUE), client.hlen("unacked")


def test_message_that_arrives_while_its_consumer_closes_returns_to_the_queue(
    consumer: Consumer, broker: Broker, client: Any
) -> None:
    consumer.wait()
    publish(broker)
    consumer.channel.close()
    assert consumer.received == []
    assert places(client) == (1, 0)


def test_requeued_message_that_is_received_again_at_once_is_not_forgotten(
    consumer: Consumer, broker: Broker, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a consumer that receives a message again before the call that requeued it has ended
    publish(broker)
    message = consumer.receive()
    qos = consumer.channel.qos
    restore = qos.restore_by_tag

    def restore_and_receive(*arguments: Any, **options: Any) -> None:
        restore(*arguments, **options)
        monkeypatch.undo()
        consumer.receive()

    monkeypatch.setattr(qos, "restore_by_tag", restore_and_receive)
    message.requeue()
    assert places(client) == (0, 1)
    # When it closes, then the message returns to the queue
    consumer.channel.close()
    assert places(client) == (1, 0)
