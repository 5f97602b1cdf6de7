"""Messages of a type that this worker does not know: a newer one may handle them."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from kombu.exceptions import OperationalError

from shared.broker.redeliveries import RedisRedeliveries
from shared.contracts import Lane, Message, MessageParked
from shared.errors import Unavailable
from shared.settings import BrokerSettings

log = structlog.get_logger(__name__)

#: Trace id of the dead letter of a message that carries none.
NO_TRACE = "0" * 32


class UnknownMessages:
    """Requeues messages of unknown types, and parks those that no worker handles.

    Args:
        settings: Number of tries, and the pause before each.
        client: Redis, which counts the tries.
        publish: Sends a dead letter, or raises `Unavailable`.
    """

    def __init__(
        self, settings: BrokerSettings, client: redis.Redis, publish: Callable[[Message], None]
    ) -> None:
        self._settings = settings
        self._redis = client
        self._publish = publish

    def requeue_later(self, message: Any) -> None:
        """Requeue a message of unknown type after a pause, for a newer worker to handle."""
        log.warning("message_unknown", topic=message.headers["task"])
        timer = threading.Timer(
            self._settings.unknown_pause_seconds, self._requeue_or_park, args=(message,)
        )
        timer.daemon = True
        timer.start()

    def _requeue_or_park(self, message: Any) -> None:
        redeliveries = RedisRedeliveries(self._redis, message.headers["id"])
        tries = redeliveries.count()
        # After an error the message stays unacknowledged and is redelivered after the visibility
        # timeout.
        with suppress(OperationalError, redis.RedisError, OSError, Unavailable):
            if tries < self._settings.unknown_tries:
                message.requeue()
                return
            self._publish(_parked(message, tries))
            message.ack()
            redeliveries.forget()


def _parked(message: Any, tries: int) -> MessageParked:
    """Build the dead letter of a message whose type no worker handles."""
    (payload, *_), *_ = message.payload
    lane = payload.get("lane")
    return MessageParked(
        trace_id=payload.get("trace_id", NO_TRACE),
        lane=Lane(lane) if lane in list(Lane) else Lane.INTERACTIVE,
        parked_topic=message.headers["task"],
        payload=payload,
        error=f"No worker handles this message type after {tries} tries",
        deliveries=tries,
        parked_at=datetime.now(UTC),
    )
