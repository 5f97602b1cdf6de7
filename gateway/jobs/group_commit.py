"""Group commit: requests that arrive during a transaction share the next one.

Source: DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984.
A request without concurrent ones is written at once.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")


class _Entry(Generic[Request, Result]):
    def __init__(self, request: Request) -> None:
        self.request = request
        self.outcome: Result | Exception | None = None


class GroupCommit(Generic[Request, Result]):
    """Batches writes: the thread that holds the turn writes the requests of all that wait.

    Args:
        write: Writes requests in one transaction and returns the result or error of each, in the
            same order. An exception that it raises is raised for each of them.
        most: Maximum number of requests per transaction.
    """

    def __init__(
        self, write: Callable[[Sequence[Request]], Sequence[Result | Exception]], most: int
    ) -> None:
        self._write = write
        self._most = most
        self._entries: deque[_Entry[Request, Result]] = deque()
        self._turn = threading.Lock()

    def submit(self, request: Request) -> Result:
        """Write a request, together with others that wait, and block until it is committed.

        Raises:
            Exception: The error that `write` returned for this request, or raised for all.
        """
        entry: _Entry[Request, Result] = _Entry(request)
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
        outcomes: Sequence[Result | Exception]
        try:
            outcomes = self._write([entry.request for entry in entries])
        except Exception as error:
            outcomes = [error] * len(entries)
        for entry, outcome in zip(entries, outcomes, strict=True):
            entry.outcome = outcome
