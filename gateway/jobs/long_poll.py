"""Long polling: many clients wait for their jobs with one shared query and no thread each.

The writer of a final state announces the job, often with its answer. The database is asked as well:
at short intervals while no announcements are heard, else at long ones, since one may get lost.
"""

import asyncio
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Protocol

import structlog

from shared.errors import Unavailable

log = structlog.get_logger(__name__)

#: Shortest and longest pause between two polls of the database while clients wait and no
#: announcements are heard, in seconds. In between, the pause follows the duration of the query, so
#: that polling takes `SHARE_OF_TIME`.
POLL_SECONDS, LONGEST_POLL_SECONDS = 0.004, 0.1
SHARE_OF_TIME = 0.3
#: Pause between two polls while announcements are heard, in seconds.
HEARD_POLL_SECONDS = 1.0
#: Announcements count as heard once the connection is this old, in seconds: earlier, that of a job
#: may have been missed which a client has just read as queued.
SETTLED_SECONDS = 5.0
#: Announced jobs to remember, for clients that read them as queued a moment ago.
MOST_ANNOUNCED = 4096
#: `Retry-After` of a client that may not wait, in seconds.
FULL_WAIT_SECONDS = 5
#: Pause between two polls while the database does not answer, in seconds.
DOWN_SECONDS = 1.0


class Announcements(Protocol):
    """Source of announcements, such as `shared.broker.Listener`."""

    @property
    def listening_seconds(self) -> float:
        """Time for which no announcement was missed."""

    def start(self) -> None:
        """Begin to listen."""


#: Takes announced jobs, each with its answer as JSON, or `None`.
OnFinal = Callable[[Mapping[str, str | None]], None]


class LongPolls:
    """Wakes clients that wait for a job or a catalog once it is final.

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
        self._waiting: dict[str, set[asyncio.Future[str | None]]] = defaultdict(set)
        self._poller: asyncio.Task[None] | None = None
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Set to end the pause between two polls.
        self._hurry = asyncio.Event()
        self._announcements: Announcements | None = None
        #: Times of the last announcements by job, the oldest first.
        self._announced: dict[str, float] = {}
        self._announced_lock = threading.Lock()

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
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hurry.set)

    def listen(self, make: Callable[[OnFinal], Announcements]) -> None:
        """Start to listen for announcements.

        Args:
            make: Returns their source, given what it calls in a thread of its own.
        """
        self._announcements = make(self._on_final)
        self._announcements.start()

    async def until_final(self, job_id: str, seconds: float) -> str | None:
        """Wait until the job is final, the time is over, or `close` is called.

        Returns:
            The committed answer as JSON (`shared.contracts.JobAnswer`) if it was announced
            meanwhile, or `None` if it has to be read from the database.

        Raises:
            Unavailable: Too many clients wait already.
        """
        if self._count >= self._most:
            raise Unavailable(
                f"Expected at most {self._most} clients that wait. Received: one more",
                retry_after_seconds=FULL_WAIT_SECONDS,
            )
        self._count += 1
        self._loop = asyncio.get_running_loop()
        woken: asyncio.Future[str | None] = self._loop.create_future()
        self._waiting[job_id].add(woken)
        if self._was_announced(job_id):
            woken.set_result(None)
        elif not self.is_polling:
            self._poller = asyncio.create_task(self._poll())
        try:
            async with asyncio.timeout(seconds):
                return await woken
        except TimeoutError:
            return None
        finally:
            self._count -= 1
            self._waiting[job_id].discard(woken)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def _on_final(self, answers: Mapping[str, str | None]) -> None:
        """Wake the clients that wait for some jobs. In the thread of the announcements."""
        # Remembered first: a client begins to wait first and then looks here, so that one of the
        # two sees the other.
        with self._announced_lock:
            self._announced.update(dict.fromkeys(answers, time.monotonic()))
            while len(self._announced) > MOST_ANNOUNCED:
                del self._announced[next(iter(self._announced))]
        loop = self._loop
        awaited = {one: answer for one, answer in answers.items() if one in self._waiting}
        if loop is not None and awaited:
            loop.call_soon_threadsafe(self._wake, awaited)

    def _was_announced(self, job_id: str) -> bool:
        """Return True if a job was announced a moment ago; later it may be queued once more."""
        with self._announced_lock:
            moment = self._announced.get(job_id)
        return moment is not None and time.monotonic() - moment < SETTLED_SECONDS

    @property
    def _hears(self) -> bool:
        heard = self._announcements
        return heard is not None and heard.listening_seconds >= SETTLED_SECONDS

    async def _poll(self) -> None:
        if self._hears:
            await self._pause(HEARD_POLL_SECONDS)
        while self._waiting:
            ids = list(self._waiting)
            if self._is_closed:
                self._wake(dict.fromkeys(ids))
                return
            # While the database is down, no client is woken; each waits its time and asks again.
            started = time.perf_counter()
            finished = await asyncio.to_thread(self._ask, ids)
            taken = time.perf_counter() - started
            self._wake(dict.fromkeys(finished or ()))
            await self._pause(self._seconds_after(taken, is_down=finished is None))

    def _seconds_after(self, taken: float, *, is_down: bool) -> float:
        """Return the pause after a poll that took some seconds."""
        if is_down:
            return DOWN_SECONDS
        if self._hears:
            return HEARD_POLL_SECONDS
        pause = max(POLL_SECONDS, taken / SHARE_OF_TIME - taken)
        return min(pause, LONGEST_POLL_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Wait, or until `close` is called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    def _wake(self, answers: Mapping[str, str | None]) -> None:
        for job_id, answer in answers.items():
            for woken in self._waiting.get(job_id, ()):
                # It is done if its client was woken or has gone a moment ago.
                if not woken.done():
                    woken.set_result(answer)

    def _ask(self, ids: list[str]) -> set[str] | None:
        try:
            return self._finished(ids)
        except Exception as error:
            log.warning("job_poll_failed", error=f"{type(error).__name__}: {error}")
            return None
