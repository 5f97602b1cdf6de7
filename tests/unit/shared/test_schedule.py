"""Periodic tasks: their metrics, failures that do not stop them, and clocks that are set."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from prometheus_client import REGISTRY

from shared import schedule
from shared.errors import Unavailable
from shared.schedule import Schedule, attempt
from shared.service import stop_on_signals

SECONDS = 10
#: How far the system's clock is set back.
STEP = 7200


@pytest.fixture
def clock() -> Iterator[Schedule]:
    clock = Schedule()
    yield clock
    clock.stop()
    clock.join()


def failures(task: str) -> float | None:
    return REGISTRY.get_sample_value("rayon_task_failures_total", {"task": task})


def age(task: str) -> float:
    found = REGISTRY.get_sample_value("rayon_task_age_seconds", {"task": task})
    assert found is not None
    return found


def test_task_metrics_exist_before_the_first_run(clock: Schedule) -> None:
    clock.every(3600, "task_expected", lambda: None)
    labels = {"task": "task_expected"}
    assert REGISTRY.get_sample_value("rayon_task_interval_seconds", labels) == 3600
    assert REGISTRY.get_sample_value("rayon_task_success_timestamp_seconds", labels)
    assert failures("task_expected") == 0
    assert 0 <= age("task_expected") < SECONDS


def raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def test_failed_attempts_are_counted_and_not_raised() -> None:
    before = failures("task_failing") or 0
    attempt("task_failing", raising(Unavailable("The database does not answer")))()
    attempt("task_failing", raising(ValueError("broken")))()
    assert failures("task_failing") == before + 2


def test_task_runs_again_after_a_failure(clock: Schedule) -> None:
    runs = 0
    again = threading.Event()

    def act() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ValueError("broken")
        again.set()

    clock.every(0.05, "task_again", act)
    clock.start()
    assert again.wait(SECONDS)


def test_rare_task_first_runs_soon_after_the_start(clock: Schedule) -> None:
    done = threading.Event()
    clock.every(3600, "task_rare", done.set)
    with patch.object(schedule, "FIRST_SECONDS", 0.05):
        clock.start()
        assert done.wait(SECONDS)


def test_task_that_hangs_delays_no_other(clock: Schedule) -> None:
    hanging, done = threading.Event(), threading.Event()
    clock.every(0.05, "task_hanging", lambda: hanging.wait(SECONDS))
    clock.every(0.05, "task_beside", done.set)
    clock.start()
    assert done.wait(SECONDS)
    hanging.set()


def test_clock_that_steps_back_stops_no_task(clock: Schedule) -> None:
    runs = threading.Semaphore(0)
    clock.every(0.05, "task_stepping", runs.release)
    clock.start()
    assert runs.acquire(timeout=SECONDS)

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(real() - STEP, UTC)

    real = time.time
    with patch("time.time", lambda: real() - STEP), patch("datetime.datetime", Earlier):
        assert all(runs.acquire(timeout=SECONDS) for _ in range(3))


def test_age_of_the_last_success_is_right_after_the_clock_was_set_back() -> None:
    attempt("task_aged", lambda: None)()
    real, monotonic = time.time, time.monotonic
    with (
        patch("time.time", lambda: real() - STEP),
        patch("time.monotonic", lambda: monotonic() + 300),
    ):
        assert 300 <= age("task_aged") < 300 + SECONDS


def test_long_run_skips_the_runs_that_it_covered(clock: Schedule) -> None:
    began: list[float] = []
    enough = threading.Event()

    def act() -> None:
        began.append(time.monotonic())
        if len(began) == 1:
            time.sleep(0.5)
        if len(began) == 3:
            enough.set()

    clock.every(0.2, "task_long", act)
    clock.start()
    assert enough.wait(SECONDS)
    # Two runs were missed; they are not made up for one after the other.
    assert began[2] - began[1] > 0.05


def test_signal_ends_a_schedule_that_blocks(clock: Schedule) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop_on_signals(clock.stop)
    try:
        clock.every(0.05, "task_ending", lambda: signal.raise_signal(signal.SIGTERM))
        clock.run()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
