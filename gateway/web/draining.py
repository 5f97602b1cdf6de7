"""Graceful shutdown: the gateway reports that it is not ready, and stops listening later.

A proxy or Kubernetes needs a moment to notice. Until then every request is still answered, and its
connection is closed, so that the next request goes to another gateway.
"""

import threading
from collections.abc import Callable


class Draining:
    """Shutdown state of this process.

    Args:
        seconds: Time between the start of draining and the stop. 0 stops at once.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._has_begun = threading.Event()

    @property
    def has_begun(self) -> bool:
        """True once the gateway should receive no more requests."""
        return self._has_begun.is_set()

    def begin(self, stop: Callable[[], None]) -> None:
        """Start draining, and call `stop` after `seconds`, or at once if draining had begun.

        Safe to call from a signal handler.
        """
        if self.has_begun or not self.seconds:
            self._has_begun.set()
            stop()
            return
        self._has_begun.set()
        timer = threading.Timer(self.seconds, stop)
        timer.daemon = True
        timer.start()
