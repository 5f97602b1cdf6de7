"""What the monitor does by the clock, and on request beside it."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger
from prometheus_client import REGISTRY

from tests.support.servers import until
from trainer.monitoring.schedule import REPORTS, Requests, build_clock, every

SECONDS = 20.0


class Months:
    """Makes months as slowly as it is told to."""

    def __init__(self, clock: BackgroundScheduler) -> None:
        self.begun: list[str] = []
        self.may_end = threading.Semaphore(0)
        self.stopping = threading.Event()
        self.requests = Requests(clock, self.make, "of a test", self.stopping)

    def make(self, month: str) -> None:
        self.begun.append(month)
        self.may_end.acquire(timeout=SECONDS)

    def wait_for(self, *months: str) -> None:
        until(lambda: len(self.begun) >= len(months), SECONDS, f"{months} were not begun")
        assert tuple(self.begun) == months


def wait_for_threads(clock: BackgroundScheduler) -> None:
    """Wait until all that is done once has been given to its thread."""

    def is_given() -> bool:
        return not any(isinstance(job.trigger, DateTrigger) for job in clock.get_jobs())

    until(is_given, SECONDS, "Something was not given to a thread")


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


def test_nothing_waits_for_the_months_that_are_asked_for(
    clock: BackgroundScheduler, months: Months
) -> None:
    for number in range(1, 13):
        months.requests.ask(f"2026-{number:02}")
    months.wait_for("2026-01")
    seen = threading.Semaphore(0)
    every(clock, 0.05, seen.release, "ticks")
    assert all(seen.acquire(timeout=SECONDS) for _ in range(3))
    assert months.begun == ["2026-01"]


def test_months_are_made_one_after_the_other_and_after_what_is_due(
    clock: BackgroundScheduler, months: Months
) -> None:
    clock.add_job(months.make, args=["due"], executor=REPORTS)
    months.wait_for("due")
    for month in ("2026-10", "2026-11", "2026-10", "2026-10"):
        months.requests.ask(month)
    months.may_end.release(1)
    months.wait_for("due", "2026-10")
    months.may_end.release(1)
    months.wait_for("due", "2026-10", "2026-11")


def test_month_that_is_asked_for_while_it_is_made_is_made_once_more(
    clock: BackgroundScheduler, months: Months
) -> None:
    months.requests.ask("2026-10")
    months.wait_for("2026-10")
    for _ in range(3):
        months.requests.ask("2026-10")
    months.requests.ask("2026-11")
    months.may_end.release(2)
    # Those who asked meanwhile share one.
    months.wait_for("2026-10", "2026-10", "2026-11")


def test_month_that_failed_can_be_asked_for_again(clock: BackgroundScheduler) -> None:
    asked = threading.Semaphore(0)

    def fail(_month: str) -> None:
        asked.release()
        raise ValueError("broken")

    requests = Requests(clock, fail, "of a failure", threading.Event())
    for _ in range(2):
        requests.ask("2026-10")
        assert asked.acquire(timeout=SECONDS)


def test_months_that_wait_are_not_begun_once_the_monitor_stops(
    clock: BackgroundScheduler, months: Months
) -> None:
    months.requests.ask("2026-10")
    months.wait_for("2026-10")
    months.requests.ask("2026-11")
    wait_for_threads(clock)
    months.stopping.set()
    months.may_end.release(2)
    clock.shutdown()
    assert months.begun == ["2026-10"]


def test_what_is_late_is_done_all_the_same(clock: BackgroundScheduler) -> None:
    done = threading.Event()
    clock.add_job(done.set, "date", run_date=datetime.now(UTC) - timedelta(hours=1))
    assert done.wait(SECONDS)


def test_task_is_missed_from_the_start_of_the_monitor_on() -> None:
    def of_the_monitor() -> None: ...

    every(build_clock(), 900, of_the_monitor)
    labels = {"task": "of_the_monitor"}
    assert REGISTRY.get_sample_value("rayon_task_interval_seconds", labels) == 900
    assert REGISTRY.get_sample_value("rayon_task_success_timestamp_seconds", labels)
    assert REGISTRY.get_sample_value("rayon_task_failures_total", labels) == 0
