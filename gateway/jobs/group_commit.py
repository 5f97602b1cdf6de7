"""Group commit: requests that arrive during a transaction share the next one.

Source: DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984.
A request without concurrent ones is written at once.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from shared.errors import Unavailable

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
            same order. If it raises an exception, it has written none of them.
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
            Exception: The error that `write` returned or raised for this request.
        """
        outcome = self.submit_all([request])[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def submit_all(self, requests: Sequence[Request]) -> list[Result | Exception]:
        """Write requests as `submit` does; return the result or error of each, in their order."""
        entries = [_Entry[Request, Result](request) for request in requests]
        self._entries.extend(entries)
        outcomes: list[Result | Exception] = []
        with self._turn:
            for entry in entries:
                while entry.outcome is None:
                    self._write_next()
                outcomes.append(entry.outcome)
        return outcomes

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return len(self._entries)

    def _write_next(self) -> None:
        count = min(self._most, len(self._entries))
        entries = [self._entries.popleft() for _ in range(count)]
        failure = self._write_together(entries)
        for entry in entries if failure is not None else ():
            # One of them is at fault, and the others are innocent. A database that does not answer
            # is not asked for each, because every attempt may take as long as the first.
            if len(entries) > 1 and not isinstance(failure, Unavailable):
                failure = self._write_together([entry]) or failure
            if entry.outcome is None:
                entry.outcome = failure

    def _write_together(self, entries: Sequence[_Entry[Request, Result]]) -> Exception | None:
        """Write requests and set their outcomes; return the error if none was written."""
        try:
            outcomes = self._write([entry.request for entry in entries])
        except Exception as error:
            return error
        for entry, outcome in zip(entries, outcomes, strict=True):
            entry.outcome = outcome
        return None
