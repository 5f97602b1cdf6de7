"""Reports on request: one at a time, equal requests merged."""

import threading
from collections.abc import Iterator

import pytest

from tests.support.servers import until
from trainer.monitoring.schedule import Requests

SECONDS = 20.0


class Months:
    """Creates reports of months, each blocked until `may_end` is released."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.may_end = threading.Semaphore(0)
        self.stopping = threading.Event()
        self.requests = Requests(self.make, "test task", self.stopping)

    def make(self, month: str) -> None:
        self.started.append(month)
        self.may_end.acquire(timeout=SECONDS)

    def wait_for(self, *months: str) -> None:
        until(lambda: len(self.started) >= len(months), SECONDS, f"{months} were not started")
        assert tuple(self.started) == months


@pytest.fixture
def months() -> Iterator[Months]:
    months = Months()
    yield months
    months.stopping.set()
    months.may_end.release(100)


def test_requested_reports_run_one_at_a_time(months: Months) -> None:
    for month in ("2026-10", "2026-11", "2026-11"):
        months.requests.submit(month)
    months.wait_for("2026-10")
    months.may_end.release(1)
    months.wait_for("2026-10", "2026-11")


def test_month_requested_while_its_report_runs_is_run_once_more(months: Months) -> None:
    months.requests.submit("2026-10")
    months.wait_for("2026-10")
    for _ in range(3):
        months.requests.submit("2026-10")
    months.requests.submit("2026-11")
    months.may_end.release(2)
    # Requests made meanwhile share one run.
    months.wait_for("2026-10", "2026-10", "2026-11")


def test_failed_month_can_be_requested_again() -> None:
    started = threading.Semaphore(0)

    def fail(_month: str) -> None:
        started.release()
        raise ValueError("broken")

    requests = Requests(fail, "failing task", threading.Event())
    for _ in range(2):
        requests.submit("2026-10")
        assert started.acquire(timeout=SECONDS)


def test_waiting_months_are_dropped_when_the_monitor_stops(months: Months) -> None:
    months.requests.submit("2026-10")
    months.wait_for("2026-10")
    months.requests.submit("2026-11")
    months.stopping.set()
    months.may_end.release(2)
    months.requests.join()
    assert months.started == ["2026-10"]
