"""Tasks at an interval, with metrics that reveal a task that fails or no longer runs."""

import math
import threading
import time
from collections.abc import Callable

import structlog

from shared import metrics
from shared.errors import Unavailable
from shared.progress import PROGRESS, late_after

log = structlog.get_logger(__name__)

#: Longest time until the first run of a task. A service that is restarted more often than the
#: interval of a task must run it nevertheless.
FIRST_SECONDS = 60.0
#: Interval at which a blocking schedule checks whether it was stopped, in seconds.
LOOK_SECONDS = 0.2
#: Time for running tasks to end once the schedule was stopped.
GRACE_SECONDS = 5.0


class Schedule:
    """Runs tasks at intervals, each in a thread of its own, until it is stopped.

    Only the monotonic clock counts, because the system's clock may be set back by hours. A run that
    takes longer than the interval delays the next one to the next multiple of the interval.
    """

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    def every(self, seconds: float, task: str, act: Callable[[], object]) -> None:
        """Add a task before the start; its failures are logged and do not end it.

        Args:
            seconds: Interval.
            task: Name in the metrics and the logs.
            act: The task.
        """
        metrics.expect(task, seconds)
        PROGRESS.expect(task, late_after(seconds))
        run = attempt(task, act)
        self._threads.append(
            threading.Thread(target=self._repeat, args=(seconds, run), name=task, daemon=True)
        )

    def start(self) -> None:
        """Start all tasks."""
        for thread in self._threads:
            thread.start()

    def run(self) -> None:
        """Start all tasks, block until another thread or a signal handler stops them."""
        self.start()
        # A handler that interrupted `Event.wait` here would wait for the lock of the event forever.
        while not self._stopping.is_set():
            time.sleep(LOOK_SECONDS)
        self.join()

    def stop(self) -> None:
        """Start no further run."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the running tasks, for a limited time."""
        give_up = time.monotonic() + GRACE_SECONDS
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, give_up - time.monotonic()))

    def _repeat(self, seconds: float, run: Callable[[], None]) -> None:
        due = time.monotonic() + min(seconds, FIRST_SECONDS)
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            run()
            missed = math.floor((time.monotonic() - due) / seconds)
            due += seconds * (missed + 1)


def attempt(task: str, act: Callable[[], object]) -> Callable[[], None]:
    """Return a function that runs a task, counts failures and logs them instead of raising.

    A dependency that is down only delays the task, so it is a warning.
    """

    def run() -> None:
        try:
            with metrics.watched(task), PROGRESS.watched(task):
                act()
        except Unavailable as error:
            log.warning("task_deferred", task=task, error=str(error))
        except Exception:
            log.exception("task_failed", task=task)

    return run
