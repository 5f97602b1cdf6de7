"""Lets a message that came back be handled alone in its process.

When a process dies, every message it was working on comes back, and only one of them is to blame.
Handled together again, they would all die again and all be given up. Handled one at a time, the
innocent ones get through, and only the one to blame is counted.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Nobody waits longer than this for the others; a handler that hangs must not stop them all.
PATIENCE_SECONDS = 15.0


class Isolation:
    """Many ordinary messages at once, or one that came back."""

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._changed = threading.Condition()
        self._together = 0
        self._alone = 0
        self._waiting_to_be_alone = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run beside others, but not beside one that must be alone."""
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
        """Run when nothing else runs, before whatever else waits."""
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
