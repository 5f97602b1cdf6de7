"""How the gateway leaves: first it says so, and only later it stops to listen.

Whoever sends requests here (a proxy, Kubernetes) needs a moment to notice. Until then all of them
are answered, each on a connection that is closed after it, so that the next one goes elsewhere.
"""

import threading
from collections.abc import Callable


class Draining:
    """Whether this process is about to stop.

    Args:
        seconds: Between saying so and stopping; 0 stops at once.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._has_begun = threading.Event()

    @property
    def has_begun(self) -> bool:
        """Whether no more requests should be sent here."""
        return self._has_begun.is_set()

    def begin(self, stop: Callable[[], None]) -> None:
        """Stop after the time; at once if this is the second call. For signal handlers."""
        if self.has_begun or not self.seconds:
            self._has_begun.set()
            stop()
            return
        self._has_begun.set()
        timer = threading.Timer(self.seconds, stop)
        timer.daemon = True
        timer.start()
