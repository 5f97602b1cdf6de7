"""Accuracy of the release before, on which the comparison of answers depends."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.db.models import (
    AlertStatus,
    Base,
    DriftAlert,
    DriftWindow,
    Performance,
    Promotion,
    now,
)
from shared.db.session import UnitOfWork
from tests.support.factories import make_manifest
from tests.unit.gateway import conftest as gateway
from trainer.monitoring.promotion_watch.accuracy import accuracy_before
from trainer.monitoring.promotion_watch.measures import Pair
from trainer.monitoring.promotion_watch.replies import Reply

broker, migrated, unit_of_work = gateway.broker, gateway.migrated, gateway.unit_of_work

MANIFEST = make_manifest(figures={"fusion_f1_plain": 0.85, "text_f1_plain": 0.7})
PAIRS = [
    Pair({"fusion": Reply(10, confidence), "text": Reply(10, 0.9)}, {}) for confidence in (0.7, 0.9)
]


def accuracy(
    unit_of_work: UnitOfWork, *rows: Base, figures: dict[str, Any] | None = None
) -> dict[str, float | None]:
    line = Promotion(version="2", previous_version="1", figures=figures or {})
    with unit_of_work() as work:
        work.session.add_all(rows)
    with unit_of_work.reading() as session:
        return accuracy_before(session, line, MANIFEST, PAIRS)


def labelled(high: float, **changes: Any) -> Performance:
    fields: dict[str, Any] = {
        "kind": "labelled",
        "release": "1",
        "modality": "fusion",
        "rows": 50,
        "f1": high - 0.1,
        "low": high - 0.2,
        "high": high,
        "begins_at": now(),
        "ends_at": now(),
        "classes": {},
    }
    return Performance(**{**fields, **changes})


def window(*moved: str, release: str = "1") -> DriftWindow:
    return DriftWindow(
        release=release, rows=200, begins_at=now(), ends_at=now(), moved=list(moved), measured={}
    )


def test_lowest_figure_counts(unit_of_work: UnitOfWork) -> None:
    found = accuracy(unit_of_work)
    # The mean confidence of the answers, and the F1 of the texts
    assert found == {"fusion": pytest.approx(0.8), "text": 0.7, "image": None}


def test_comparison_by_which_the_new_release_was_better_counts(unit_of_work: UnitOfWork) -> None:
    figures = {"verdict": {"outcome": "better", "champion_f1": 0.4}}
    assert accuracy(unit_of_work, figures=figures)["fusion"] == 0.4


def test_verdict_without_a_figure_is_ignored(unit_of_work: UnitOfWork) -> None:
    found = accuracy(unit_of_work, figures={"verdict": {"outcome": "not comparable"}})
    assert found["fusion"] == pytest.approx(0.8)


def test_labels_that_contradict_the_confidence_count(unit_of_work: UnitOfWork) -> None:
    assert accuracy(unit_of_work, labelled(0.5))["fusion"] == 0.5


@pytest.mark.parametrize("changes", [{"rows": 20}, {"release": "2"}, {"kind": "volunteered"}])
def test_other_labels_do_not_count(unit_of_work: UnitOfWork, changes: dict[str, Any]) -> None:
    assert accuracy(unit_of_work, labelled(0.5, **changes))["fusion"] == pytest.approx(0.8)


def test_after_a_drift_only_labels_count(unit_of_work: UnitOfWork) -> None:
    assert accuracy(unit_of_work, window("text"))["fusion"] is None
    assert accuracy(unit_of_work, labelled(0.75))["fusion"] == 0.75


def test_drift_of_the_mix_or_of_another_release_leaves_the_confidence(
    unit_of_work: UnitOfWork,
) -> None:
    found = accuracy(unit_of_work, window("prediction"), window("text", release="7"))
    assert found["fusion"] == pytest.approx(0.8)


def alert(since: datetime | None) -> DriftAlert:
    """Return an alert about a change of the mix that led to a training."""
    return DriftAlert(
        source="monitor",
        raised_by="drift",
        kind="prediction",
        release="1",
        fingerprint="drift:1:prediction",
        summary="The mix differs",
        details={} if since is None else {"since": since.isoformat()},
        steps=[],
        status=AlertStatus.TRAINING.value,
    )


def test_while_trainings_learn_from_a_change_only_labels_count(unit_of_work: UnitOfWork) -> None:
    figures = {"verdict": {"outcome": "better", "champion_f1": 0.7}}
    assert accuracy(unit_of_work, alert(since=None), figures=figures)["fusion"] is None
    assert accuracy(unit_of_work, labelled(0.75))["fusion"] == 0.75


def test_labels_from_before_the_change_do_not_count(unit_of_work: UnitOfWork) -> None:
    change = now() - timedelta(days=2)
    earlier = labelled(0.9, begins_at=change - timedelta(days=1), ends_at=now())
    assert accuracy(unit_of_work, alert(change), earlier)["fusion"] is None
    assert accuracy(unit_of_work, labelled(0.5, begins_at=change))["fusion"] == 0.5
