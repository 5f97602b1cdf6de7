"""Delivery to a handler in the publishing process, which saves the way through the queue."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import structlog

from shared import metrics
from shared.broker.announcements import FINAL
from shared.broker.celery_broker import Publisher
from shared.contracts import Message
from shared.errors import RayonError
from shared.tracing import span

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)


class LocalDelivery(Generic[M]):
    """Publisher that delivers messages of one type to a handler in this process.

    A message whose handler fails is sent to its queue, whose consumers retry or park it as usual.

    Args:
        publisher: Sends all other messages.
        kind: The message class.
        handler: Must change nothing if it fails, and tolerate receiving a message twice.
    """

    def __init__(self, publisher: Publisher, kind: type[M], handler: Callable[[M], None]) -> None:
        self._publisher = publisher
        self._kind = kind
        self._handler = handler

    def publish(self, message: Message) -> None:
        """Deliver or send one message.

        Raises:
            Unavailable: The message had to be sent, and Redis does not answer.
        """
        if not (isinstance(message, self._kind) and self._is_handled(message)):
            self._publisher.publish(message)

    def announce(self, changed: Mapping[str, str | None], channel: str = FINAL) -> None:
        """Announce changed rows."""
        self._publisher.announce(changed, channel)

    def _is_handled(self, message: M) -> bool:
        try:
            with (
                span(message.topic),
                metrics.message_seconds.labels(message.topic).time(),
            ):
                self._handler(message)
        except Exception as error:
            log.warning(
                "local_delivery_failed",
                topic=message.topic,
                error=f"{type(error).__name__}: {error}",
                exc_info=None if isinstance(error, RayonError) else error,
            )
            return False
        metrics.messages_handled_total.labels(message.topic).inc()
        return True
