"""Permits for work that takes long, so that nobody fills all threads with it."""

import threading
from collections import Counter

from shared.errors import Unavailable


class Permits:
    """Limits how many blocks of one key run at once.

    Args:
        count: Permits of each key.
        seconds: Longest time in which one waits for a permit.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._taken: Counter[str] = Counter()
        self._returned = threading.Condition()

    def take(self, key: str) -> None:
        """Take a permit. Raises `Unavailable` if none is returned in time."""
        with self._returned:
            if not self._returned.wait_for(lambda: self._taken[key] < self._count, self._seconds):
                raise Unavailable(f"{self._count} messages of the user have large images")
            self._taken[key] += 1

    def give_back(self, key: str) -> None:
        """Return a permit."""
        with self._returned:
            self._taken[key] -= 1
            # Keys are not kept.
            self._taken += Counter()
            self._returned.notify_all()
