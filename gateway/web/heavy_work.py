"""Limits on requests that compute for long: downloads of results and files of labels.

They work in small steps in a few threads of their own, step by step in turn, so that they take
neither the threads of short requests nor the interpreter for long.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.errors import Limited

#: Steps that run at once in this process. More would not be faster, because they share one
#: interpreter; a second one proceeds while the first waits for the database.
STEPS_AT_ONCE = 2
#: Units that a user may have in progress in this process, and the units of each kind of request.
UNITS_OF_USER = 4
DOWNLOAD_UNITS, LABELS_UNITS = 1, 2
#: `Retry-After` of a refused request.
WAIT_SECONDS = 10

Result = TypeVar("Result")


class HeavyWork:
    """Counts the long requests of each user and runs their steps. For the event loop only."""

    def __init__(self) -> None:
        self.units: Counter[str] = Counter()
        self._limiter: CapacityLimiter | None = None

    @contextmanager
    def counted(self, user_id: str, units: int) -> Iterator[None]:
        """Count a request until the block ends. Raises `Limited` beyond `UNITS_OF_USER`."""
        if self.units[user_id] + units > UNITS_OF_USER:
            raise Limited(
                f"Expected at most {UNITS_OF_USER} downloads of results at once, each file of "
                f"labels counting as {LABELS_UNITS}. Received: one more",
                retry_after_seconds=WAIT_SECONDS,
            )
        self.units[user_id] += units
        try:
            yield
        finally:
            self.units[user_id] -= units
            if not self.units[user_id]:
                del self.units[user_id]

    async def step(self, function: Callable[[], Result]) -> Result:
        """Run one step in a thread; the steps of all requests take turns."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(STEPS_AT_ONCE)
        return await to_thread.run_sync(function, limiter=self._limiter)

    async def steps(self, items: Iterator[Result]) -> AsyncIterator[Result]:
        """Iterate over items, each of which is computed as one step."""
        end = object()
        while (item := await self.step(lambda: next(items, end))) is not end:
            yield item  # type: ignore[misc]  # only `end` is no result


class Download(StreamingResponse):
    """A response whose pieces are computed as steps, counted until its last piece is sent.

    Args:
        work: Counts the download and runs its steps.
        user_id: The user who downloads.
        pieces: The content.
        **rest: Arguments of `StreamingResponse`.

    Raises:
        Limited: The user has too many long requests in progress.
    """

    def __init__(self, work: HeavyWork, user_id: str, pieces: Iterator[bytes], **rest: Any) -> None:
        super().__init__(work.steps(pieces), **rest)
        self._counted: AbstractContextManager[None] = work.counted(user_id, DOWNLOAD_UNITS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces."""
        with self._counted:
            await super().__call__(scope, receive, send)
