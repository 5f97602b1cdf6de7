"""Celery consumer that requeues messages of unknown types and waits for a Redis that refuses.

During a rolling update an old worker may receive a message of a type that only the new version
handles. Celery would drop it; here it returns to its queue after a pause, until a worker that
handles the type receives it.

A Redis that refuses to write still accepts connections. Celery would reconnect to it in a loop.
"""

import time
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown
from redis.exceptions import ResponseError

log = structlog.get_logger(__name__)

#: Pauses between connections to a Redis that refuses: the first, and the longest after doubling.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
#: A refusal this long after the previous one starts with the first pause again.
CALM_SECONDS = 60.0
#: Longest time in which a stop signal is not noticed.
STEP_SECONDS = 0.5


class RequeueingConsumer(Consumer):
    """Consumer that passes messages of unknown types to the broker that created the app."""

    _pause = FIRST_PAUSE_SECONDS
    _refused_at = float("-inf")

    def on_unknown_task(self, _body: Any, message: Any, _error: Exception) -> None:
        """Handle a message whose topic has no subscriber in this process."""
        self.app.on_unknown_message(message)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the broken connection; wait before the next one if Redis refused a command."""
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, ResponseError):
            self._wait(str(exc))

    def _wait(self, reason: str) -> None:
        if time.monotonic() - self._refused_at > CALM_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        log.warning("queue_refuses", error=reason, pause_seconds=self._pause)
        until = time.monotonic() + self._pause
        while (left := until - time.monotonic()) > 0:
            maybe_shutdown()
            time.sleep(min(left, STEP_SECONDS))
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._refused_at = time.monotonic()
