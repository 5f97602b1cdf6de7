"""Turns at a scarce resource, given out fairly among those who wait."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Semaphore whose waiters take turns by key, so that many of one key delay another's little.

    Args:
        count: Turns that may be taken at once.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: dict[str, deque[threading.Event]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, key: str) -> Iterator[None]:
        """Run a block once it is the turn of one of this key."""
        self._take(key)
        try:
            yield
        finally:
            self._pass_on()

    @property
    def waiting(self) -> int:
        """Number of blocks that wait."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def _take(self, key: str) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            called = threading.Event()
            self._waiting.setdefault(key, deque()).append(called)
        called.wait()

    def _pass_on(self) -> None:
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            key = next(iter(self._waiting))
            queue = self._waiting.pop(key)
            queue.popleft().set()
            if queue:
                # Behind the other keys.
                self._waiting[key] = queue
