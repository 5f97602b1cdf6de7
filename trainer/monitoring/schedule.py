"""Scheduled tasks of the monitor, and a queue for tasks on request."""

import threading
from collections.abc import Callable

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from shared.schedule import attempt

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
        self._clock.add_job(attempt(self._task, lambda: self._run(name)), executor=REPORTS)

    def _run(self, name: str) -> None:
        with self._lock:
            self._waiting.discard(name)
        if not self._stopping.is_set():
            self._act(name)
