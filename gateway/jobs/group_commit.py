"""Group commit: requests that arrive during a transaction share the next one.

Source: DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984.
A request that is alone waits for nobody.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Kept = TypeVar("Kept")


class _Entry(Generic[Asked, Kept]):
    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.outcome: Kept | Exception | None = None


class GroupCommit(Generic[Asked, Kept]):
    """Batches writes: one waiting thread writes for all others.

    Args:
        write: Writes requests in one transaction; returns the outcome of each, in their
            order. What it raises is raised for each of them.
        most: Maximum number of requests per transaction.
    """

    def __init__(
        self, write: Callable[[Sequence[Asked]], Sequence[Kept | Exception]], most: int
    ) -> None:
        self._write = write
        self._most = most
        self._entries: deque[_Entry[Asked, Kept]] = deque()
        self._turn = threading.Lock()

    def submit(self, asked: Asked) -> Kept:
        """Write one request, together with waiting ones; block until it is committed.

        Raises:
            Exception: What came of it, or what `write` raised.
        """
        entry: _Entry[Asked, Kept] = _Entry(asked)
        self._entries.append(entry)
        with self._turn:
            while entry.outcome is None:
                self._write_next()
        if isinstance(entry.outcome, Exception):
            raise entry.outcome
        return entry.outcome

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return len(self._entries)

    def _write_next(self) -> None:
        count = min(self._most, len(self._entries))
        entries = [self._entries.popleft() for _ in range(count)]
        outcomes: Sequence[Kept | Exception]
        try:
            outcomes = self._write([entry.asked for entry in entries])
        except Exception as error:
            outcomes = [error] * len(entries)
        for entry, outcome in zip(entries, outcomes, strict=True):
            entry.outcome = outcome
