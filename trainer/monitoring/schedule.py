"""Scheduled tasks of the monitor, and a queue for tasks on request."""

import threading
from collections.abc import Callable

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from shared import metrics
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

#: Names of the thread pools.
DEFAULT, REPORTS = "default", "reports"
#: Larger than the number of tasks, so that no task waits for another one.
THREADS = 10


def build_clock() -> BackgroundScheduler:
    """Build a scheduler that runs reports one at a time and everything else in parallel.

    A report of a million jobs takes minutes, and any number of months may be requested at once.
    """
    return BackgroundScheduler(
        timezone="UTC",
        executors={DEFAULT: ThreadPoolExecutor(THREADS), REPORTS: ThreadPoolExecutor(1)},
        # Late tasks still run. By default, APScheduler skips a task that is a second late.
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
    """Run a task at an interval; log failures and continue with the next run.

    Args:
        clock: Scheduler that runs the task.
        seconds: Interval.
        act: The task.
        task: Name in the metrics; defaults to the function's name.
        executor: Name of the thread pool.
    """
    task = task or act.__name__
    metrics.expect(task, seconds)
    clock.add_job(_attempt(act, task), "interval", seconds=seconds, executor=executor)


class Requests:
    """Runs named requests one at a time, merging equal ones that wait.

    A request for a name that is already waiting is dropped. A request for a name that is running
    runs once more, because the data may have changed since that run began.

    Args:
        clock: Scheduler whose report thread runs the requests.
        act: Handles a request.
        task: Name in the metrics.
        stopping: Once set, waiting requests are dropped.
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

    def submit(self, name: str) -> None:
        """Queue a request unless an equal one is waiting."""
        with self._lock:
            if name in self._waiting:
                return
            self._waiting.add(name)
        # Without a trigger, APScheduler runs the job as soon as the thread is free.
        self._clock.add_job(_attempt(lambda: self._run(name), self._task), executor=REPORTS)

    def _run(self, name: str) -> None:
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
            log.warning("task_deferred", task=task, error=str(error))
        except Exception:
            log.exception("task_failed", task=task)

    return attempt
