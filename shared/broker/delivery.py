"""What happens to a message that arrived: handled, taken apart, tried again, or given up."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from shared import metrics
from shared.contracts import Lane, LaneMessage, Message, MessageParked, WorkMessage
from shared.errors import RayonError, Unavailable
from shared.settings import BrokerSettings

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)

#: The pause before a message is tried again never grows beyond this.
LONGEST_PAUSE_SECONDS = 30.0


class TryAgain(Exception):
    """The message must go back to its queue."""


class Delivery:
    """Decides by the number of earlier deliveries.

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

    def deliver(self, message: M, handler: Callable[[M], None], earlier: int) -> None:
        """Deal with one message that was delivered `earlier` times before.

        Raises:
            TryAgain: It failed, or what follows from it could not be sent.
        """
        if earlier and isinstance(message, WorkMessage) and len(message.items) > 1:
            # One of the items may have killed the worker. Alone, it cannot take the others with it.
            self._send(message.split())
        elif earlier >= self._settings.max_deliveries:
            self._park(message, earlier)
        else:
            with metrics.message_seconds.labels(message.topic).time():
                self._handle(message, handler, earlier)

    def _handle(self, message: M, handler: Callable[[M], None], earlier: int) -> None:
        try:
            handler(message)
        except Exception as error:
            metrics.messages_failed_total.labels(message.topic).inc()
            log.warning(
                "message_failed",
                topic=message.topic,
                deliveries=earlier,
                error=f"{type(error).__name__}: {error}",
                exc_info=not isinstance(error, RayonError),
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
