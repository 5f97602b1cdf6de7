"""Loops of the monitor skip and name a row that raises, and handle the rows after it."""

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from shared.db.models import DriftWindow, Job, now
from shared.db.session import UnitOfWork
from tests.support.factories import make_job, make_user
from tests.unit.gateway import conftest as gateway
from trainer.monitoring.performance.estimated import estimated_figures
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.performance.reviews import DAYS_BACK, Reviews
from trainer.monitoring.report import events
from trainer.monitoring.report.confusions import _likely_examples
from trainer.monitoring.settings import MonitorSettings

broker, migrated, unit_of_work = gateway.broker, gateway.migrated, gateway.unit_of_work

ANSWERS = "trainer.monitoring.performance.answers"
MONTH = Period.month_of(now())


@pytest.fixture
def skipped() -> Iterator[list[str]]:
    """Collect what a test expects: the loop, then the skipped row."""
    expected: list[str] = []
    with capture_logs() as logged:
        counts = _counts()
        yield expected
    loop, row = expected
    assert [event["row"] for event in logged if event["event"] == "row_skipped"] == [row]
    assert _counts().get(loop, 0.0) == counts.get(loop, 0.0) + 1


def _counts() -> dict[str, float]:
    return {
        sample.labels["loop"]: sample.value
        for metric in REGISTRY.collect()
        if metric.name == "rayon_rows_skipped"
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def test_answers_of_which_a_report_shows_examples(
    unit_of_work: UnitOfWork, skipped: list[str]
) -> None:
    good = {"top": [{"prdtypecode": 10}, {"prdtypecode": 20}]}
    ada = make_user()
    jobs = [
        answered(ada, designation=title, result=result)
        for title, result in (("first", good), ("bad", {"top": ["no", "object"]}), ("last", good))
    ]
    with unit_of_work() as work:
        work.session.add_all([ada, *jobs])
    with unit_of_work.reading() as session:
        found = _likely_examples(session, MONTH, {"truth": 20, "answer": 10})
    assert {one["designation"] for one in found} == {"first", "last"}
    skipped.extend(["report", jobs[1].id])


def answered(user: Any, **changes: Any) -> Job:
    done = {"status": "done", "prdtypecode": 10, "confidence": 0.4, "finished_at": now()}
    return make_job(user, **{**done, **changes})


def test_drift_windows_of_a_report(unit_of_work: UnitOfWork, skipped: list[str]) -> None:
    measured = {"text": {"effect": 0.1, "threshold": 0.2, "significant": False, "p_value": 0.5}}
    windows = [window(number, one) for number, one in enumerate((measured, ["none"], measured))]
    with unit_of_work() as work:
        work.session.add_all(windows)
    with unit_of_work.reading() as session:
        (text,) = events.drift(session, MONTH)["kinds"]
    assert len(text["points"]) == 2
    skipped.extend(["report", f"drift window {windows[1].id}"])


def window(number: int, measured: Any) -> DriftWindow:
    moment = MONTH.begins_at + timedelta(hours=number)
    ends_at = moment + timedelta(minutes=30)
    return DriftWindow(
        release="1", rows=1, begins_at=moment, ends_at=ends_at, moved=[], measured=measured
    )


def test_days_of_which_reviews_are_drawn(
    unit_of_work: UnitOfWork, monkeypatch: pytest.MonkeyPatch, skipped: list[str]
) -> None:
    days: list[str] = []

    def choose_day(_self: Reviews, day: Period) -> int:
        days.append(f"{day.begins_at:%Y-%m-%d}")
        if len(days) == 2:
            raise ValueError("a day that raises")
        return 0

    monkeypatch.setattr(Reviews, "choose_day", choose_day)
    Reviews(unit_of_work, MonitorSettings()).choose()
    assert len(set(days)) == DAYS_BACK
    skipped.extend(["reviews", days[1]])


@pytest.mark.parametrize("stage", ["of", "collect"])
def test_releases_of_which_f1_is_estimated(
    unit_of_work: UnitOfWork, monkeypatch: pytest.MonkeyPatch, skipped: list[str], stage: str
) -> None:
    expectation = SimpleNamespace(estimate=lambda _codes: {}, by_truth=lambda _codes: {})

    def of(_registry: object, release: str) -> Any:
        if (stage, release) == ("of", "2"):
            raise KeyError("fusion")
        return SimpleNamespace(codes=[10, 20], known={})

    def collect(_session: object, _period: Period, release: str, _fusing: Any) -> Any:
        if (stage, release) == ("collect", "2"):
            raise ValueError("a score that raises")
        return {"text": SimpleNamespace(expectation=expectation)}

    monkeypatch.setattr(f"{ANSWERS}.releases_of", lambda *_: ["1", "2", "3"])
    monkeypatch.setattr(f"{ANSWERS}.collect", collect)
    monkeypatch.setattr(f"{ANSWERS}.Fusing.of", of)
    registry: Any = None
    with unit_of_work.reading() as session:
        found = estimated_figures(session, registry, MONTH, now())
    assert [one.release for one in found] == ["1", "3"]
    skipped.extend(["performance", "2"])
