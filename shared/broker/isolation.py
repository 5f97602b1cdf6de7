"""Isolation of redelivered messages: each runs alone in its process.

When a process dies, all messages that it was handling are redelivered, although only one of them
caused the crash. Handled together, they would crash again and all be parked. Handled one at a time,
the harmless messages succeed, and only the harmful one reaches the limit of deliveries.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Longest wait for other messages; a handler that hangs must not block the process.
PATIENCE_SECONDS = 15.0


class Isolation:
    """Lock that admits many first deliveries at once, or one redelivered message."""

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._changed = threading.Condition()
        self._together = 0
        self._alone = 0
        self._waiting_to_be_alone = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run a block beside others, but not beside one that runs alone."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._alone and not self._waiting_to_be_alone, self._patience_seconds
            )
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run a block while no other runs; it takes precedence over waiting shared blocks."""
        with self._changed:
            self._waiting_to_be_alone += 1
            self._changed.wait_for(
                lambda: not self._alone and not self._together, self._patience_seconds
            )
            self._waiting_to_be_alone -= 1
            self._alone += 1
        try:
            yield
        finally:
            with self._changed:
                self._alone -= 1
                self._changed.notify_all()
