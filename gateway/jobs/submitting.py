"""Threads of submissions, apart from those of reading and signing in."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

Result = TypeVar("Result")

#: Submissions at once: those of a transaction, those that wait for the next one, and some before.
THREADS = 40


class Submitting:
    """Runs submissions in threads of their own. For the event loop only.

    A commit that waits for the disk, or a database that hangs, holds up submissions alone.
    """

    def __init__(self) -> None:
        self._limiter: CapacityLimiter | None = None

    async def run(self, function: Callable[[], Result]) -> Result:
        """Run a submission in a thread, once one is free."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(THREADS)
        return await to_thread.run_sync(function, limiter=self._limiter)
