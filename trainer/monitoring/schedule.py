"""What the monitor does by the clock, and on request beside it."""

import threading
from collections.abc import Callable

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from shared import metrics
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

#: Threads of their own, by what runs in them.
DEFAULT, REPORTS = "default", "reports"
#: More than there are tasks: none of them waits for another one.
THREADS = 10


def build_clock() -> BackgroundScheduler:
    """Make a scheduler in which reports wait for one another, and nothing else for them.

    A report of a million jobs takes minutes, and any number of months may be asked for at once.
    """
    return BackgroundScheduler(
        timezone="UTC",
        executors={DEFAULT: ThreadPoolExecutor(THREADS), REPORTS: ThreadPoolExecutor(1)},
        # What is late is done late. By default it would be left out after a second.
        job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
    )


def every(
    clock: BackgroundScheduler,
    seconds: float,
    act: Callable[[], object],
    task: str | None = None,
    *,
    executor: str = DEFAULT,
) -> None:
    """Do something every so many seconds; what fails is told of and tried again.

    Args:
        clock: Does it.
        seconds: Between two times.
        act: What to do.
        task: Its name in the metrics; without one, the function's.
        executor: In whose threads.
    """
    task = task or act.__name__
    metrics.expect(task, seconds)
    clock.add_job(_attempt(act, task), "interval", seconds=seconds, executor=executor)


class Requests:
    """Makes what is asked for by name, one after the other.

    What waits already is not made twice; what is asked for while it is made is made once more, for
    whoever asks may know of something that came since.

    Args:
        clock: Does it, with the reports.
        act: Makes one.
        task: Its name in the metrics.
        stopping: Once it is set, what waits is not begun any more.
    """

    def __init__(
        self,
        clock: BackgroundScheduler,
        act: Callable[[str], object],
        task: str,
        stopping: threading.Event,
    ) -> None:
        self._clock = clock
        self._act = act
        self._task = task
        self._stopping = stopping
        self._lock = threading.Lock()
        self._waiting: set[str] = set()

    def ask(self, name: str) -> None:
        """Have something made soon."""
        with self._lock:
            if name in self._waiting:
                return
            self._waiting.add(name)
        # Without a trigger it is done at once, that is, as soon as the thread is free.
        self._clock.add_job(_attempt(lambda: self._make(name), self._task), executor=REPORTS)

    def _make(self, name: str) -> None:
        with self._lock:
            self._waiting.discard(name)
        if not self._stopping.is_set():
            self._act(name)


def _attempt(act: Callable[[], object], task: str) -> Callable[[], None]:
    def attempt() -> None:
        try:
            with metrics.watched(task):
                act()
        except Unavailable as error:
            log.warning("monitoring_deferred", task=task, error=str(error))
        except Exception:
            log.exception("monitoring_failed", task=task)

    return attempt
