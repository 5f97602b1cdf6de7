"""Tasks at an interval, with metrics that reveal a task that fails or no longer runs."""

from collections.abc import Callable

import structlog
from apscheduler.schedulers.base import BaseScheduler

from shared import metrics
from shared.errors import Unavailable

log = structlog.get_logger(__name__)


def every(
    scheduler: BaseScheduler,
    seconds: float,
    task: str,
    act: Callable[[], object],
    *,
    executor: str = "default",
) -> None:
    """Run a task at an interval; log failures and continue with the next run.

    Args:
        scheduler: Runs the task.
        seconds: Interval.
        task: Name in the metrics and the logs.
        act: The task.
        executor: Name of the scheduler's thread pool.
    """
    metrics.expect(task, seconds)
    scheduler.add_job(attempt(task, act), "interval", seconds=seconds, executor=executor)


def attempt(task: str, act: Callable[[], object]) -> Callable[[], None]:
    """Return a function that runs a task, counts failures and logs them instead of raising.

    A dependency that is down only delays the task, so it is a warning.
    """

    def run() -> None:
        try:
            with metrics.watched(task):
                act()
        except Unavailable as error:
            log.warning("task_deferred", task=task, error=str(error))
        except Exception:
            log.exception("task_failed", task=task)

    return run
