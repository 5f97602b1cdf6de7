"""Delivery of a received message: handle, split, retry, or park it as a dead letter."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import structlog

from shared import metrics
from shared.broker.isolation import Isolation
from shared.contracts import Lane, LaneMessage, Message, MessageParked, WorkMessage
from shared.errors import RayonError, Unavailable
from shared.settings import BrokerSettings

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)

#: The pause before a message is tried again never grows beyond this.
LONGEST_PAUSE_SECONDS = 30.0


class Comebacks(Protocol):
    """Count of redeliveries of one message."""

    def count(self) -> int:
        """Count one more, and return how many there were."""

    def forget(self) -> None:
        """Start anew: it was dealt with, whatever becomes of its acknowledgement."""


class TryAgain(Exception):
    """The message must go back to its queue."""


class Delivery:
    """Decides by how often a message came back.

    Args:
        settings: How stubborn delivery is.
        publish: Sends one message; raises `Unavailable`.
        pause: Sleeps for some seconds.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        publish: Callable[[Message], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._publish = publish
        self._pause = pause
        self._isolation = Isolation()

    def deliver(
        self, message: M, handler: Callable[[M], None], comebacks: Comebacks | None = None
    ) -> None:
        """Deal with one message.

        Args:
            message: What arrived.
            handler: What it is for.
            comebacks: Given for a message that was delivered before.

        Raises:
            TryAgain: It failed, or what follows from it could not be sent.
        """
        if comebacks is None:
            with self._isolation.together():
                error = _attempt(message, handler)
            self._conclude(message, error, 0)
        elif isinstance(message, WorkMessage) and len(message.items) > 1:
            # One of the items may have killed the worker. Alone, it cannot take the others with it.
            self._send(message.split())
        else:
            self._deliver_again(message, handler, comebacks)

    def _deliver_again(
        self, message: M, handler: Callable[[M], None], comebacks: Comebacks
    ) -> None:
        error: Exception | None = None
        with self._isolation.alone():
            # Counted when its turn has come: what died waiting beside another is not to blame.
            earlier = comebacks.count()
            is_over = earlier >= self._settings.max_deliveries
            if not is_over:
                error = _attempt(message, handler)
                if error is None:
                    comebacks.forget()
        if is_over:
            self._park(message, earlier)
        else:
            self._conclude(message, error, earlier)

    def _conclude(self, message: Message, error: Exception | None, earlier: int) -> None:
        if error is None:
            return
        metrics.messages_failed_total.labels(message.topic).inc()
        log.warning(
            "message_failed",
            topic=message.topic,
            deliveries=earlier,
            error=f"{type(error).__name__}: {error}",
            exc_info=None if isinstance(error, RayonError) else error,
        )
        self._pause(min(self._settings.retry_delay_seconds * 2**earlier, LONGEST_PAUSE_SECONDS))
        if not (isinstance(error, RayonError) and error.is_transient):
            raise TryAgain(str(error)) from error
        # A missing database is nobody's fault: the message starts anew and is never parked.
        self._send([message])

    def _park(self, message: Message, earlier: int) -> None:
        log.error("message_parked", topic=message.topic, deliveries=earlier)
        self._send(
            [
                MessageParked(
                    trace_id=message.trace_id,
                    lane=message.lane if isinstance(message, LaneMessage) else Lane.INTERACTIVE,
                    parked_topic=message.topic,
                    payload=message.model_dump(mode="json"),
                    error=f"given up after {earlier} deliveries",
                    deliveries=earlier,
                    parked_at=datetime.now(UTC),
                )
            ]
        )
        metrics.messages_parked_total.labels(message.topic).inc()

    def _send(self, messages: Iterable[Message]) -> None:
        try:
            for message in messages:
                self._publish(message)
        except Unavailable as error:
            raise TryAgain(str(error)) from error


def _attempt(message: M, handler: Callable[[M], None]) -> Exception | None:
    try:
        with metrics.message_seconds.labels(message.topic).time():
            handler(message)
    except Exception as error:
        return error
    return None
