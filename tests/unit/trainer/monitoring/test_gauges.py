"""Metrics of models, data, alerts and trainings reflect the database."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from shared.db.models import (
    Base,
    DriftAlert,
    DriftWindow,
    Performance,
    Promotion,
    TrainingRun,
    WatchState,
    now,
)
from shared.db.session import UnitOfWork
from tests.support.factories import make_job, make_user
from tests.unit.gateway import conftest as gateway
from trainer.monitoring.gauges import Gauges
from trainer.monitoring.promotion_watch.record import Record

broker, migrated, unit_of_work = gateway.broker, gateway.migrated, gateway.unit_of_work


@pytest.fixture
def gauges(unit_of_work: UnitOfWork) -> Gauges:
    add(unit_of_work, promotion("1"))
    return Gauges(unit_of_work)


def add(unit_of_work: UnitOfWork, *rows: Base) -> None:
    for row in rows:
        with unit_of_work() as work:
            work.session.add(row)


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def promotion(version: str) -> Promotion:
    return Promotion(version=version, promoted_by="ada", reason="better", figures={})


def performance(f1: float | None, **changes: Any) -> Performance:
    fields = {"kind": "test", "release": "1", "modality": "fusion", "rows": 100, "classes": {}}
    return Performance(**{**fields, "f1": f1, **changes})


def window(moved: list[str], **changes: Any) -> DriftWindow:
    measured = {
        "text": {"effect": 0.4, "threshold": 0.1, "p_value": 0.001, "rows": 200},
        "quality": {
            "effect": 0.0,
            "threshold": 0.05,
            "p_value": 1.0,
            "rows": 200,
            "features": [{"name": "empty_title", "reference": 0.01, "window": 0.2}],
        },
    }
    fields = {"release": "1", "rows": 200, "begins_at": now(), "ends_at": now()}
    return DriftWindow(**{**fields, "moved": moved, "measured": measured, **changes})


def run(status: str, **changes: Any) -> TrainingRun:
    return TrainingRun(**{"requested_by": "ada", "reason": "drift", "status": status, **changes})


def alert(status: str, **changes: Any) -> DriftAlert:
    fields = {"source": "monitor", "raised_by": "monitor", "kind": "text", "summary": "moved"}
    rest = {"details": {}, "steps": [], "fingerprint": status, "status": status}
    return DriftAlert(**{**fields, **rest, **changes})


def test_newest_f1_is_shown_with_its_interval(gauges: Gauges, unit_of_work: UnitOfWork) -> None:
    add(unit_of_work, performance(0.7), performance(0.8, low=0.75, high=0.85))
    day = {"begins_at": now() - timedelta(days=1), "ends_at": now()}
    add(unit_of_work, performance(0.9, kind="estimated", modality="text", **day))
    gauges.refresh()
    labels = {"kind": "test", "modality": "fusion", "release": "1"}
    assert value("rayon_f1", **labels) == 0.8
    assert (value("rayon_f1_low", **labels), value("rayon_f1_high", **labels)) == (0.75, 0.85)
    assert value("rayon_f1_rows", **labels) == 100
    estimated = {"kind": "estimated", "modality": "text", "release": "1"}
    assert value("rayon_f1", **estimated) == 0.9
    assert value("rayon_f1_low", **estimated) is None


def test_labels_are_shown_for_the_month_and_estimates_for_the_day(
    gauges: Gauges, unit_of_work: UnitOfWork
) -> None:
    day, month = timedelta(days=1), timedelta(days=30)
    begins = now().replace(hour=0)
    for kind in ("labelled", "estimated"):
        add(
            unit_of_work,
            performance(0.6, kind=kind, begins_at=begins, ends_at=begins + day, past_error=0.01),
            performance(0.5, kind=kind, begins_at=begins - day, ends_at=begins),
            performance(0.7, kind=kind, begins_at=begins - day, ends_at=begins + month),
            performance(0.1, kind=kind, begins_at=begins - 4 * month, ends_at=begins - 3 * month),
        )
    gauges.refresh()
    labels = {"modality": "fusion", "release": "1"}
    assert value("rayon_f1", kind="labelled", **labels) == 0.7
    assert value("rayon_f1", kind="estimated", **labels) == 0.6
    assert value("rayon_f1_past_error", kind="estimated", **labels) == 0.01
    assert value("rayon_f1_past_error", kind="labelled", **labels) is None


def test_earlier_estimate_is_not_shown_where_f1_cannot_be_estimated_now(
    gauges: Gauges, unit_of_work: UnitOfWork
) -> None:
    begins, day = now().replace(hour=0), timedelta(days=1)
    add(
        unit_of_work,
        performance(0.9, kind="estimated", begins_at=begins - day, ends_at=begins),
        performance(None, kind="not_estimated", begins_at=begins, ends_at=begins + day),
    )
    gauges.refresh()
    labels = {"modality": "fusion", "release": "1"}
    assert value("rayon_f1", kind="estimated", **labels) is None
    assert value("rayon_f1", kind="not_estimated", **labels) is None
    assert value("rayon_f1_rows", kind="not_estimated", **labels) == 100


def test_estimate_on_the_test_set_does_not_replace_the_estimate_of_the_day(
    gauges: Gauges, unit_of_work: UnitOfWork
) -> None:
    begins = now().replace(hour=0)
    ends = begins + timedelta(days=1)
    add(
        unit_of_work,
        performance(0.6, kind="estimated", begins_at=begins, ends_at=ends, measured_at=begins),
        performance(0.8, kind="estimated"),
        performance(0.8, kind="test"),
    )
    gauges.refresh()
    labels = {"modality": "fusion", "release": "1"}
    assert value("rayon_f1", kind="estimated", **labels) == 0.6
    assert value("rayon_f1", kind="test", **labels) == 0.8


def test_figures_of_a_release_disappear_when_another_one_is_promoted(
    gauges: Gauges, unit_of_work: UnitOfWork
) -> None:
    add(unit_of_work, performance(0.7), window(["text"]))
    gauges.refresh()
    assert value("rayon_drift_moved", kind="text", release="1") == 1
    add(unit_of_work, promotion("2"), performance(0.8, release="2"))
    gauges.refresh()
    assert value("rayon_f1", kind="test", modality="fusion", release="1") is None
    assert value("rayon_f1", kind="test", modality="fusion", release="2") == 0.8
    assert value("rayon_drift_moved", kind="text", release="1") is None
    assert value("rayon_drift_rows", release="1") is None
    assert value("rayon_data_quality", check="empty_title") is None


def test_newest_window_is_shown(gauges: Gauges, unit_of_work: UnitOfWork) -> None:
    add(unit_of_work, window(["quality"]), window(["text"]))
    gauges.refresh()
    assert value("rayon_drift_effect", kind="text", release="1") == 0.4
    assert value("rayon_drift_threshold", kind="text", release="1") == 0.1
    assert value("rayon_drift_moved", kind="text", release="1") == 1
    assert value("rayon_drift_moved", kind="quality", release="1") == 0
    assert value("rayon_data_quality", check="empty_title") == 0.2
    assert value("rayon_data_quality_reference", check="empty_title") == 0.01


def test_alerts_are_counted_by_status_and_source(gauges: Gauges, unit_of_work: UnitOfWork) -> None:
    add(unit_of_work, alert("asking"), alert("open", source="alertmanager"))
    add(unit_of_work, alert("asking", kind="quality", fingerprint="quality"))
    add(unit_of_work, alert("asking", kind="promotion", fingerprint="promotion"))
    gauges.refresh()
    assert value("rayon_alerts", status="asking", source="monitor", about="release") == 1
    assert value("rayon_alerts", status="asking", source="monitor", about="products") == 1
    assert value("rayon_alerts", status="asking", source="monitor", about="models") == 1
    assert value("rayon_alerts", status="asking", source="alertmanager", about="models") == 0
    assert value("rayon_alerts", status="open", source="alertmanager", about="models") == 1


def test_watch_over_a_release_is_shown_until_two_days_after_its_end(
    gauges: Gauges, unit_of_work: UnitOfWork
) -> None:
    # Given a release that was rolled back, before the promotion of the serving one
    record = Record("watching", "", now().isoformat(), answers=40, labelled=3, compared=90)
    watched = promotion("2")
    watched.watch = record.as_json()
    add(unit_of_work, watched, promotion("1"))
    gauges.refresh()
    assert value("rayon_promotion_watch", release="2", state="watching") == 1
    assert value("rayon_promotion_watch", release="2", state="rolled_back") == 0
    assert value("rayon_promotion_watch_answers", release="2", kind="seen") == 40
    assert value("rayon_promotion_watch_answers", release="2", kind="compared") == 90
    for age, shown in ((timedelta(days=1), 1), (timedelta(days=3), None)):
        ended = record.moved_to(WatchState.ROLLED_BACK, "worse", now() - age)
        with unit_of_work() as work:
            work.session.get_one(Promotion, watched.id).watch = ended.as_json()
        gauges.refresh()
        assert value("rayon_promotion_watch", release="2", state="rolled_back") == shown


def test_outcome_of_the_last_training_is_shown(gauges: Gauges, unit_of_work: UnitOfWork) -> None:
    yesterday, moment = now() - timedelta(days=1), now()
    add(unit_of_work, run("finished", finished_at=yesterday), run("failed", finished_at=moment))
    add(unit_of_work, run("running", started_at=moment))
    gauges.refresh()
    assert value("rayon_training_last", status="failed") == 1
    assert value("rayon_training_last", status="finished") == 0
    success = value("rayon_training_timestamp_seconds", moment="succeeded")
    assert success == pytest.approx(yesterday.timestamp())
    assert value("rayon_training_runs", status="running") == 1
    began = value("rayon_training_timestamp_seconds", moment="began")
    assert began == pytest.approx(moment.timestamp())


def test_trusted_labels_of_the_last_week_are_counted(
    gauges: Gauges, unit_of_work: UnitOfWork
) -> None:
    user, client = make_user(role="operator"), make_user("client")
    add(unit_of_work, user, client)
    for author, days in ((user, 1), (user, 8), (client, 1)):
        labelled = {"labelled_at": now() - timedelta(days=days), "labelled_by_id": author.id}
        add(unit_of_work, make_job(client, label=10, **labelled))
    gauges.refresh()
    assert value("rayon_labels", days="7") == 1


def test_empty_database_shows_no_figures(unit_of_work: UnitOfWork) -> None:
    Gauges(unit_of_work).refresh()
    assert value("rayon_f1", kind="test", modality="fusion", release="1") is None
    assert value("rayon_alerts", status="open", source="monitor", about="models") == 0
