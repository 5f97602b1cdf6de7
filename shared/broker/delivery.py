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
from shared.progress import PROGRESS
from shared.settings import BrokerSettings

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)

#: Longest back-off before a failed message is retried.
LONGEST_PAUSE_SECONDS = 30.0


class Redeliveries(Protocol):
    """Count of redeliveries of one message."""

    def count(self) -> int:
        """Add one and return the count."""

    def forget(self) -> None:
        """Reset the count: the message was handled, even if its acknowledgement gets lost."""


class Requeue(Exception):
    """The message must return to its queue."""


class Delivery:
    """Handles, splits, retries or parks a message, depending on its redeliveries.

    Args:
        settings: Limits of deliveries and retries.
        publish: Sends one message, or raises `Unavailable`.
        pause: Sleeps for a number of seconds.
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
        self, message: M, handler: Callable[[M], None], redeliveries: Redeliveries | None = None
    ) -> None:
        """Deliver one message to its handler, or split or park it.

        Args:
            message: The received message.
            handler: Handles messages of this type.
            redeliveries: Count of a message that was delivered before, or `None`.

        Raises:
            Requeue: The handler failed, or a resulting message could not be sent.
        """
        if redeliveries is None:
            with self._isolation.together():
                error = _attempt(message, handler)
            self._conclude(message, error, 0)
        elif isinstance(message, WorkMessage) and len(message.items) > 1:
            # One of the items may have killed the worker. Split, they fail separately.
            self._send(message.split())
        else:
            self._deliver_again(message, handler, redeliveries)

    def _deliver_again(
        self, message: M, handler: Callable[[M], None], redeliveries: Redeliveries
    ) -> None:
        error: Exception | None = None
        with self._isolation.alone():
            # Counted only once the message runs alone: a message that was still waiting when the
            # process died did not kill it.
            earlier = redeliveries.count()
            is_exhausted = earlier >= self._settings.max_deliveries
            if not is_exhausted:
                error = _attempt(message, handler)
                if error is None or _is_transient(error):
                    redeliveries.forget()
        if is_exhausted:
            self._park(message, earlier)
        else:
            self._conclude(message, error, earlier)

    def _conclude(self, message: Message, error: Exception | None, earlier: int) -> None:
        if error is None:
            PROGRESS.succeeded(message.topic)
            return
        PROGRESS.failed(message.topic, error, _row_of(message))
        metrics.messages_failed_total.labels(message.topic).inc()
        log.warning(
            "message_failed",
            topic=message.topic,
            deliveries=earlier,
            error=f"{type(error).__name__}: {error}",
            exc_info=None if isinstance(error, RayonError) else error,
        )
        self._pause(min(self._settings.retry_delay_seconds * 2**earlier, LONGEST_PAUSE_SECONDS))
        if not _is_transient(error):
            raise Requeue(str(error)) from error
        # A dependency that is down is not the message's fault: the message is sent again as a new
        # one, so it is never parked.
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
            raise Requeue(str(error)) from error


def _attempt(message: M, handler: Callable[[M], None]) -> Exception | None:
    try:
        with metrics.message_seconds.labels(message.topic).time():
            handler(message)
    except Exception as error:
        return error
    return None


def _row_of(message: Message) -> str:
    """Return the job of a message that has one only."""
    items = message.items if isinstance(message, WorkMessage) else ()
    return f"job {items[0].job_id}" if len(items) == 1 else ""


def _is_transient(error: Exception) -> bool:
    """Return True for the error of a dependency that is down, which no message causes."""
    return isinstance(error, RayonError) and error.is_transient
