"""Long polling: many clients wait for their jobs with one shared query and no thread each."""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection

import structlog

from shared.errors import Unavailable

log = structlog.get_logger(__name__)

#: Shortest and longest pause between two polls of the database while clients wait, in seconds. In
#: between, the pause follows the duration of the query, so that polling takes `SHARE_OF_TIME`.
POLL_SECONDS, LONGEST_POLL_SECONDS = 0.004, 0.1
SHARE_OF_TIME = 0.3
#: `Retry-After` of a client that may not wait, in seconds.
FULL_WAIT_SECONDS = 5
#: Pause between two polls while the database does not answer, in seconds.
DOWN_SECONDS = 1.0


class LongPolls:
    """Wakes clients that wait for a job once it is final.

    Args:
        finished: Returns those of some job IDs that are final or deleted.
        most: Clients that may wait at once.
    """

    def __init__(
        self, finished: Callable[[Collection[str]], set[str]], most: int = sys.maxsize
    ) -> None:
        self._finished = finished
        self._most = most
        self._count = 0
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._poller: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_polling(self) -> bool:
        """True while clients wait and the database is polled."""
        return self._poller is not None and not self._poller.done()

    @property
    def is_closed(self) -> bool:
        """True once `close` was called; no client may wait any more."""
        return self._is_closed

    @property
    def has_room(self) -> bool:
        """True if one more client may wait."""
        return self._count < self._most and not self._is_closed

    def close(self) -> None:
        """Release all waiting clients before the process ends. Safe in a signal handler."""
        self._is_closed = True

    async def until_final(self, job_id: str, seconds: float) -> None:
        """Wait until the job is final, the time is over, or `close` is called.

        Raises:
            Unavailable: Too many clients wait already.
        """
        if self._count >= self._most:
            raise Unavailable(
                f"Expected at most {self._most} clients that wait for a job. Received: one more",
                retry_after_seconds=FULL_WAIT_SECONDS,
            )
        self._count += 1
        woken = asyncio.Event()
        self._waiting[job_id].add(woken)
        if not self.is_polling:
            self._poller = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            pass
        finally:
            self._count -= 1
            self._waiting[job_id].discard(woken)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    async def _poll(self) -> None:
        while self._waiting:
            ids = list(self._waiting)
            if self._is_closed:
                self._wake(ids)
                return
            # While the database is down, no client is woken; each waits its time and asks again.
            started = time.perf_counter()
            finished = await asyncio.to_thread(self._ask, ids)
            taken = time.perf_counter() - started
            if finished is None:
                await asyncio.sleep(DOWN_SECONDS)
                continue
            self._wake(finished)
            pause = max(POLL_SECONDS, taken / SHARE_OF_TIME - taken)
            await asyncio.sleep(min(pause, LONGEST_POLL_SECONDS))

    def _wake(self, ids: Collection[str]) -> None:
        for job_id in ids:
            for woken in self._waiting.get(job_id, ()):
                woken.set()

    def _ask(self, ids: list[str]) -> set[str] | None:
        try:
            return self._finished(ids)
        except Exception as error:
            log.warning("job_poll_failed", error=f"{type(error).__name__}: {error}")
            return None
