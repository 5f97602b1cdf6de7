"""Scheduled tasks of the monitor, and reports on request."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger
from prometheus_client import REGISTRY

from shared.schedule import every
from tests.support.servers import until
from trainer.monitoring.schedule import REPORTS, Requests, build_clock

SECONDS = 20.0


class Months:
    """Creates reports of months, each blocked until `may_end` is released."""

    def __init__(self, clock: BackgroundScheduler) -> None:
        self.started: list[str] = []
        self.may_end = threading.Semaphore(0)
        self.stopping = threading.Event()
        self.requests = Requests(clock, self.make, "test task", self.stopping)

    def make(self, month: str) -> None:
        self.started.append(month)
        self.may_end.acquire(timeout=SECONDS)

    def wait_for(self, *months: str) -> None:
        until(lambda: len(self.started) >= len(months), SECONDS, f"{months} were not started")
        assert tuple(self.started) == months


def wait_for_threads(clock: BackgroundScheduler) -> None:
    """Wait until every one-off job has been submitted to its thread."""

    def is_submitted() -> bool:
        return not any(isinstance(job.trigger, DateTrigger) for job in clock.get_jobs())

    until(is_submitted, SECONDS, "a job was not submitted to its thread")


@pytest.fixture
def clock() -> Iterator[BackgroundScheduler]:
    clock = build_clock()
    clock.start()
    yield clock
    if clock.running:
        wait_for_threads(clock)
        clock.shutdown()


@pytest.fixture
def months(clock: BackgroundScheduler) -> Iterator[Months]:
    months = Months(clock)
    yield months
    months.stopping.set()
    months.may_end.release(100)


def test_other_tasks_run_while_requested_reports_wait(
    clock: BackgroundScheduler, months: Months
) -> None:
    for number in range(1, 13):
        months.requests.submit(f"2026-{number:02}")
    months.wait_for("2026-01")
    seen = threading.Semaphore(0)
    every(clock, 0.05, "ticks", seen.release)
    assert all(seen.acquire(timeout=SECONDS) for _ in range(3))
    assert months.started == ["2026-01"]


def test_requested_reports_run_one_at_a_time_after_the_scheduled_one(
    clock: BackgroundScheduler, months: Months
) -> None:
    clock.add_job(months.make, args=["due"], executor=REPORTS)
    months.wait_for("due")
    for month in ("2026-10", "2026-11", "2026-10", "2026-10"):
        months.requests.submit(month)
    months.may_end.release(1)
    months.wait_for("due", "2026-10")
    months.may_end.release(1)
    months.wait_for("due", "2026-10", "2026-11")


def test_month_requested_while_its_report_runs_is_run_once_more(
    clock: BackgroundScheduler, months: Months
) -> None:
    months.requests.submit("2026-10")
    months.wait_for("2026-10")
    for _ in range(3):
        months.requests.submit("2026-10")
    months.requests.submit("2026-11")
    months.may_end.release(2)
    # Requests made meanwhile share one run.
    months.wait_for("2026-10", "2026-10", "2026-11")


def test_failed_month_can_be_requested_again(clock: BackgroundScheduler) -> None:
    started = threading.Semaphore(0)

    def fail(_month: str) -> None:
        started.release()
        raise ValueError("broken")

    requests = Requests(clock, fail, "failing task", threading.Event())
    for _ in range(2):
        requests.submit("2026-10")
        assert started.acquire(timeout=SECONDS)


def test_waiting_months_are_dropped_when_the_monitor_stops(
    clock: BackgroundScheduler, months: Months
) -> None:
    months.requests.submit("2026-10")
    months.wait_for("2026-10")
    months.requests.submit("2026-11")
    wait_for_threads(clock)
    months.stopping.set()
    months.may_end.release(2)
    clock.shutdown()
    assert months.started == ["2026-10"]


def test_late_task_still_runs(clock: BackgroundScheduler) -> None:
    done = threading.Event()
    clock.add_job(done.set, "date", run_date=datetime.now(UTC) - timedelta(hours=1))
    assert done.wait(SECONDS)


def test_task_metrics_exist_before_its_first_run() -> None:
    def monitor_task() -> None: ...

    every(build_clock(), 900, "monitor_task", monitor_task)
    labels = {"task": "monitor_task"}
    assert REGISTRY.get_sample_value("rayon_task_interval_seconds", labels) == 900
    assert REGISTRY.get_sample_value("rayon_task_success_timestamp_seconds", labels)
    assert REGISTRY.get_sample_value("rayon_task_failures_total", labels) == 0
