"""Periodic tasks: their metrics, and failures that do not stop the schedule."""

import threading
from collections.abc import Callable

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from prometheus_client import REGISTRY

from shared.errors import Unavailable
from shared.schedule import attempt, every

SECONDS = 10


def failures(task: str) -> float | None:
    return REGISTRY.get_sample_value("rayon_task_failures_total", {"task": task})


def test_task_metrics_exist_before_the_first_run() -> None:
    every(BlockingScheduler(timezone="UTC"), 3600, "task_expected", lambda: None)
    labels = {"task": "task_expected"}
    assert REGISTRY.get_sample_value("rayon_task_interval_seconds", labels) == 3600
    assert REGISTRY.get_sample_value("rayon_task_success_timestamp_seconds", labels)
    assert failures("task_expected") == 0


def raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def test_failed_attempts_are_counted_and_not_raised() -> None:
    before = failures("task_failing") or 0
    attempt("task_failing", raising(Unavailable("The database does not answer")))()
    attempt("task_failing", raising(ValueError("broken")))()
    assert failures("task_failing") == before + 2


def test_task_runs_again_after_a_failure() -> None:
    runs = 0
    again = threading.Event()

    def act() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ValueError("broken")
        again.set()

    clock = BackgroundScheduler(timezone="UTC")
    every(clock, 0.05, "task_again", act)
    clock.start()
    try:
        assert again.wait(SECONDS)
    finally:
        clock.shutdown()
