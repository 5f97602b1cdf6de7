"""Responses to drift alerts, in a real database."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from shared.contracts import DatasetUploaded, DriftDetected, TrainingRequested
from shared.db.models import (
    AlertStatus,
    DatasetVersion,
    DriftAlert,
    Promotion,
    TrainingRun,
    new_id,
    now,
)
from shared.db.session import UnitOfWork
from shared.lifecycle.alerts import raise_alert
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker
from tests.unit.gateway import conftest as gateway
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.settings import MonitorSettings

broker, migrated, unit_of_work = gateway.broker, gateway.migrated, gateway.unit_of_work


def add(unit_of_work: UnitOfWork, *rows: Any) -> None:
    with unit_of_work() as work:
        work.session.add_all(rows)


def alert_of(unit_of_work: UnitOfWork, kind: str = "text", **changes: Any) -> str:
    with unit_of_work() as work:
        fields: dict[str, Any] = {
            "source": "monitor",
            "raised_by": "monitor",
            "kind": kind,
            "release": "1",
            "summary": f"{kind} moved",
            "details": {},
            "trace_id": "0" * 32,
            "fingerprint": kind,
            **changes,
        }
        alert = raise_alert(work, **fields)
        assert alert is not None
        return alert.id


def show(unit_of_work: UnitOfWork, alert_id: str) -> DriftAlert:
    with unit_of_work.reading() as session:
        return session.get_one(DriftAlert, alert_id)


def alerts(unit_of_work: UnitOfWork) -> list[DriftAlert]:
    with unit_of_work.reading() as session:
        return list(session.scalars(select(DriftAlert).order_by(DriftAlert.id)))


def runs(unit_of_work: UnitOfWork) -> list[TrainingRun]:
    with unit_of_work.reading() as session:
        return list(session.scalars(select(TrainingRun).order_by(TrainingRun.id)))


def end_run(unit_of_work: UnitOfWork, message: str, status: str = "finished") -> None:
    with unit_of_work() as work:
        run = work.session.scalars(select(TrainingRun).order_by(TrainingRun.id.desc())).first()
        assert run is not None
        run.status, run.message, run.finished_at = status, message, now()


def set_status_of_newest(unit_of_work: UnitOfWork, status: str) -> None:
    """Set the status of the newest dataset version."""
    with unit_of_work() as work:
        query = select(DatasetVersion).order_by(DatasetVersion.version.desc())
        version = work.session.scalars(query).first()
        assert version is not None
        version.status = status


def dismiss(unit_of_work: UnitOfWork, alert_id: str) -> None:
    with unit_of_work() as work:
        alert = work.session.get_one(DriftAlert, alert_id)
        alert.status, alert.ended_at = AlertStatus.ENDED.value, now()


def respond(unit_of_work: UnitOfWork, **settings: Any) -> AlertResponse:
    return AlertResponse(unit_of_work, MonitorSettings(**settings))


def dataset(version: int = 1, name: str = "shop", **changes: Any) -> DatasetVersion:
    fields: dict[str, Any] = {
        "id": new_id(),
        "name": name,
        "version": version,
        "status": "ready",
        "created_by": "olga",
        "asked": {},
        **changes,
    }
    return DatasetVersion(**fields)


def test_alert_is_raised_once_until_it_has_ended(
    unit_of_work: UnitOfWork, broker: FakeBroker
) -> None:
    first = alert_of(unit_of_work)
    with unit_of_work() as work:
        again = raise_alert(
            work,
            source="monitor",
            raised_by="monitor",
            kind="text",
            release="1",
            summary="text moved more",
            details={},
            trace_id="0" * 32,
            fingerprint="text",
        )
    assert again is None
    assert [sent.alert_id for sent in broker.messages if isinstance(sent, DriftDetected)] == [first]
    with unit_of_work() as work:
        work.session.get_one(DriftAlert, first).ended_at = now()
    assert alert_of(unit_of_work) != first


def changed(unit_of_work: UnitOfWork, minutes: float = 60.0) -> str:
    """Raise an alert about products since some minutes ago, for the dataset `shop`."""
    add(unit_of_work, dataset())
    since = now() - timedelta(minutes=minutes)
    return alert_of(unit_of_work, details={"since": since.isoformat()})


def label(unit_of_work: UnitOfWork, count: int, minutes_ago: float) -> None:
    """Label products that were answered some minutes ago."""
    reviewer = make_user(username=new_id(), role="operator")
    moment = now() - timedelta(minutes=minutes_ago)
    jobs = [
        make_job(
            reviewer,
            finished_at=moment,
            label=10,
            labelled_at=now(),
            labelled_by_id=reviewer.id,
        )
        for _ in range(count)
    ]
    add(unit_of_work, reviewer)
    add(unit_of_work, *jobs)


def test_training_about_drift_waits_for_labels_of_what_comes_now(unit_of_work: UnitOfWork) -> None:
    alert_id, response = changed(unit_of_work), respond(unit_of_work, least_labels=3)
    label(unit_of_work, 5, minutes_ago=90)
    label(unit_of_work, 2, minutes_ago=30)
    for _ in range(2):
        response.look()
    alert = show(unit_of_work, alert_id)
    assert alert.status == "open"
    # Then it says so once, however often it looks
    assert [step["text"][:20] for step in alert.steps] == ["Raised", "Waiting for 3 labels"]
    label(unit_of_work, 1, minutes_ago=30)
    response.look()
    assert show(unit_of_work, alert_id).status == "training"
    assert newest_step(unit_of_work, alert_id).startswith("Importing new labels")


@pytest.mark.parametrize("is_allowed", [True, False])
def test_training_about_drift_without_labels_is_for_a_person_or_the_last_resort(
    unit_of_work: UnitOfWork, is_allowed: bool
) -> None:
    alert_id = changed(unit_of_work)
    with unit_of_work() as work:
        alert = work.session.get_one(DriftAlert, alert_id)
        if is_allowed:
            alert.details = {**alert.details, "allowed_by": "ada"}
        else:
            alert.raised_at = now() - timedelta(days=7)
    respond(unit_of_work).look()
    assert len(runs(unit_of_work)) == 1


def test_alert_that_waits_for_labels_ends_when_another_release_serves(
    unit_of_work: UnitOfWork,
) -> None:
    alert_id, response = changed(unit_of_work), respond(unit_of_work)
    response.look()
    assert show(unit_of_work, alert_id).status == "open"
    promotion = Promotion(
        version="2",
        previous_version="1",
        promoted_by="ada",
        reason="better",
        figures={},
    )
    add(unit_of_work, promotion)
    response.look()
    assert show(unit_of_work, alert_id).status == "ended"
    assert newest_step(unit_of_work, alert_id) == "Not retrained: release 2 serves now"
    assert not runs(unit_of_work)


def newest_step(unit_of_work: UnitOfWork, alert_id: str) -> str:
    return str(show(unit_of_work, alert_id).steps[-1]["text"])


def test_alert_starts_a_training_and_records_its_outcome(
    unit_of_work: UnitOfWork, broker: FakeBroker
) -> None:
    response, alert_id = respond(unit_of_work), alert_of(unit_of_work)
    response.decide(alert_id)
    (run,) = runs(unit_of_work)
    assert (run.requested_by, run.status, run.dataset) == ("monitor", "queued", None)
    assert alert_id in run.reason
    assert [sent.run_id for sent in broker.messages if isinstance(sent, TrainingRequested)] == [
        run.id
    ]
    response.look()
    assert show(unit_of_work, alert_id).status == AlertStatus.TRAINING.value
    end_run(unit_of_work, "The champion stays. Not better: weighted F1 .79 against .80")
    response.look()
    alert = show(unit_of_work, alert_id)
    assert alert.status == AlertStatus.ENDED.value
    assert alert.ended_at is not None
    assert [step["text"] for step in alert.steps] == [
        "Raised",
        f"Requested a training on the trainer's own data folder: run {run.id}",
        f"Retrained, run {run.id}. The champion stays. Not better: weighted F1 .79 against .80",
    ]


def test_duplicated_or_lost_message_changes_nothing(unit_of_work: UnitOfWork) -> None:
    response, alert_id = respond(unit_of_work), alert_of(unit_of_work)
    for _ in range(2):
        response.decide(alert_id)
    response.decide("nobody's")
    assert len(runs(unit_of_work)) == 1
    end_run(unit_of_work, "Promoted")
    response.look()
    alert_of(unit_of_work, "image")
    response.look()
    assert len(runs(unit_of_work)) == 2


def test_alerts_join_the_training_in_progress(unit_of_work: UnitOfWork) -> None:
    response = respond(unit_of_work)
    first, second = alert_of(unit_of_work, "text"), alert_of(unit_of_work, "image")
    response.look()
    assert len(runs(unit_of_work)) == 1
    end_run(unit_of_work, "out of memory", status="failed")
    response.look()
    for alert_id in (first, second):
        alert = show(unit_of_work, alert_id)
        assert alert.ended_at is not None
        assert alert.steps[-1]["text"].startswith("The training failed")
        assert alert.steps[-1]["text"].endswith("out of memory")


def test_weekly_budget_is_enforced_and_explained(unit_of_work: UnitOfWork) -> None:
    response = respond(unit_of_work, trainings_per_week=1)
    long_ago = now() - timedelta(days=8)
    add(
        unit_of_work,
        TrainingRun(requested_by="monitor", reason="old", status="finished", requested_at=long_ago),
        TrainingRun(requested_by="olga", reason="manual", status="finished"),
    )
    alert_of(unit_of_work, "text")
    response.look()
    end_run(unit_of_work, "Promoted")
    response.look()
    over = alert_of(unit_of_work, "image")
    response.look()
    assert len(runs(unit_of_work)) == 3
    alert = show(unit_of_work, over)
    assert alert.status == AlertStatus.ENDED.value
    assert "the budget is 1" in alert.steps[-1]["text"]


def test_setting_ask_waits_for_approval(unit_of_work: UnitOfWork) -> None:
    response = respond(unit_of_work, response="ask", trainings_per_week=0)
    alert_id = alert_of(unit_of_work)
    response.look()
    response.look()
    alert = show(unit_of_work, alert_id)
    assert alert.status == AlertStatus.ASKING.value
    assert f"POST /v1/drift-alerts/{alert_id}/train" in alert.steps[-1]["text"]
    assert runs(unit_of_work) == []
    with unit_of_work() as work:
        asked = work.session.get_one(DriftAlert, alert_id)
        asked.status, asked.details = AlertStatus.OPEN.value, {"allowed_by": "olga"}
    response.look()
    assert len(runs(unit_of_work)) == 1


def test_new_labels_are_imported_before_the_training(
    unit_of_work: UnitOfWork, broker: FakeBroker
) -> None:
    user = make_user(role="operator")
    first = dataset(1, asked={"corrected": True})
    add(unit_of_work, user, first, dataset(2, status="failed"), dataset(1, "older"))
    with unit_of_work() as work:
        work.session.query(DatasetVersion).filter_by(name="older").update(
            {"created_at": now() - timedelta(days=9)}
        )
    add(
        unit_of_work,
        make_job(user, label=10, labelled_at=now(), labelled_by_id=user.id),
        make_job(user, label=10, labelled_at=now() - timedelta(days=1), labelled_by_id=user.id),
    )
    response, alert_id = respond(unit_of_work), alert_of(unit_of_work)
    response.decide(alert_id)
    response.look()
    (sent,) = (message for message in broker.messages if isinstance(message, DatasetUploaded))
    with unit_of_work.reading() as session:
        version = session.get_one(DatasetVersion, sent.version_id)
    assert version.reference == "shop@3"
    assert version.asked == {"base": 1, "files": [], "remove": [], "corrected": True}
    assert runs(unit_of_work) == []
    assert "new labels into the dataset: 1 into" in show(unit_of_work, alert_id).steps[-1]["text"]
    with unit_of_work() as work:
        work.session.get_one(DatasetVersion, version.id).status = "ready"
    response.look()
    (run,) = runs(unit_of_work)
    assert run.dataset == "shop@3"


def test_alerts_share_the_training_that_awaits_an_import(unit_of_work: UnitOfWork) -> None:
    # Given a budget of one training, and a label that no version contains
    user = make_user(role="operator")
    add(unit_of_work, user, dataset(1))
    add(unit_of_work, make_job(user, label=10, labelled_at=now(), labelled_by_id=user.id))
    response = respond(unit_of_work, trainings_per_week=1)
    ids = [alert_of(unit_of_work, "text"), alert_of(unit_of_work, "prediction")]
    # When two alerts are decided during the import, I expect no run on the old data
    response.look()
    assert runs(unit_of_work) == []
    assert {show(unit_of_work, id_).status for id_ in ids} == {AlertStatus.TRAINING.value}
    assert ids[0] in show(unit_of_work, ids[1]).steps[-1]["text"]
    # When the import is finished, I expect one run for both
    set_status_of_newest(unit_of_work, "ready")
    response.look()
    (run,) = runs(unit_of_work)
    assert run.dataset == "shop@2"
    assert {show(unit_of_work, id_).training_run_id for id_ in ids} == {run.id}


def test_alert_continues_when_the_one_it_waits_with_is_dismissed(
    unit_of_work: UnitOfWork,
) -> None:
    user = make_user(role="operator")
    add(unit_of_work, user, dataset(1))
    add(unit_of_work, make_job(user, label=10, labelled_at=now(), labelled_by_id=user.id))
    response = respond(unit_of_work, trainings_per_week=1)
    first, second = alert_of(unit_of_work, "text"), alert_of(unit_of_work, "prediction")
    response.look()
    dismiss(unit_of_work, first)
    set_status_of_newest(unit_of_work, "ready")
    response.look()
    (run,) = runs(unit_of_work)
    assert run.dataset == "shop@2"
    assert show(unit_of_work, second).training_run_id == run.id
    assert show(unit_of_work, first).training_run_id is None


def test_waiting_alert_joins_a_run_that_a_person_requested(unit_of_work: UnitOfWork) -> None:
    user = make_user(role="operator")
    add(unit_of_work, user, dataset(1))
    add(unit_of_work, make_job(user, label=10, labelled_at=now(), labelled_by_id=user.id))
    response, alert_id = respond(unit_of_work), alert_of(unit_of_work)
    response.look()
    add(unit_of_work, TrainingRun(requested_by="olga", reason="mine", dataset="shop@1"))
    set_status_of_newest(unit_of_work, "ready")
    response.look()
    (run,) = runs(unit_of_work)
    assert show(unit_of_work, alert_id).training_run_id == run.id


def test_waiting_alert_shares_a_run_that_has_already_ended(
    unit_of_work: UnitOfWork,
) -> None:
    # Given two alerts that await the same version, one of which already has its run
    user = make_user(role="operator")
    add(unit_of_work, user, dataset(1))
    add(unit_of_work, make_job(user, label=10, labelled_at=now(), labelled_by_id=user.id))
    response = respond(unit_of_work)
    first, second = alert_of(unit_of_work, "text"), alert_of(unit_of_work, "prediction")
    response.look()
    run = TrainingRun(requested_by="monitor", reason="x", status="failed", finished_at=now())
    add(unit_of_work, run)
    with unit_of_work() as work:
        work.session.get_one(DriftAlert, first).training_run_id = runs(unit_of_work)[0].id
    set_status_of_newest(unit_of_work, "ready")
    # When the other alert is followed, I expect no second run
    response.look()
    assert len(runs(unit_of_work)) == 1
    assert show(unit_of_work, second).training_run_id == runs(unit_of_work)[0].id


def test_failed_label_import_does_not_stop_the_training(unit_of_work: UnitOfWork) -> None:
    user = make_user(role="operator")
    add(unit_of_work, user, dataset(1))
    add(unit_of_work, make_job(user, label=10, labelled_at=now(), labelled_by_id=user.id))
    response, alert_id = respond(unit_of_work), alert_of(unit_of_work)
    response.decide(alert_id)
    with unit_of_work() as work:
        work.session.query(DatasetVersion).filter_by(version=2).update(
            {"status": "failed", "message": "no such image"}
        )
    response.look()
    (run,) = runs(unit_of_work)
    assert run.dataset == "shop@1"
    texts = [step["text"] for step in show(unit_of_work, alert_id).steps]
    assert "Importing the new labels failed: no such image" in texts


@pytest.mark.parametrize(
    ("configured", "expected"), [(None, "trained@1"), ("newest", "newest@1"), ("absent", None)]
)
def test_training_uses_the_configured_dataset_or_the_last_one_trained_on(
    unit_of_work: UnitOfWork, configured: str | None, expected: str | None
) -> None:
    add(
        unit_of_work,
        dataset(1, "trained"),
        dataset(1, "newest"),
        TrainingRun(requested_by="olga", reason="x", status="finished", dataset="trained@1"),
    )
    respond(unit_of_work, dataset=configured).decide(alert_of(unit_of_work))
    assert runs(unit_of_work)[-1].dataset == expected


def test_calendar_requests_a_training_when_none_was_requested(unit_of_work: UnitOfWork) -> None:
    response = respond(unit_of_work, train_every_days=30)
    response.look()
    response.look()
    assert len(runs(unit_of_work)) == 1
    end_run(unit_of_work, "Promoted")
    response.look()
    response.look()
    assert len(runs(unit_of_work)) == 1
    with unit_of_work() as work:
        for run in work.session.scalars(select(TrainingRun)):
            run.requested_at = now() - timedelta(days=31)
    response.look()
    assert len(runs(unit_of_work)) == 2


def test_calendar_waits_for_the_budget_after_a_refusal(unit_of_work: UnitOfWork) -> None:
    # Given a run four days ago that used up the weekly budget
    response = respond(unit_of_work, train_every_days=3, trainings_per_week=1)
    before = TrainingRun(requested_by="monitor", reason="old", status="finished")
    before.requested_at = now() - timedelta(days=4)
    add(unit_of_work, before)
    # When the calendar is checked repeatedly, I expect one refusal
    for _ in range(3):
        response.look()
    (refused,) = alerts(unit_of_work)
    assert "the budget is 1" in refused.steps[-1]["text"]
    # When the run is older than a week, I expect the calendar to request again at once
    with unit_of_work() as work:
        work.session.get_one(TrainingRun, before.id).requested_at = now() - timedelta(days=8)
    response.look()
    assert len(runs(unit_of_work)) == 2


@pytest.mark.parametrize(
    ("settings", "days"),
    [({"train_every_days": 3}, 3), ({"train_every_labels": 3}, 7)],
    ids=["calendar", "labels"],
)
def test_dismissed_alert_is_not_raised_again_within_its_interval(
    unit_of_work: UnitOfWork, settings: dict[str, int], days: int
) -> None:
    add(unit_of_work, dataset(1))
    add_labels(unit_of_work, 5)
    response = respond(unit_of_work, **{"train_every_labels": 0, **settings}, response="ask")
    response.look()
    (asked,) = alerts(unit_of_work)
    dismiss(unit_of_work, asked.id)
    response.look()
    assert len(alerts(unit_of_work)) == 1
    with unit_of_work() as work:
        work.session.get_one(DriftAlert, asked.id).ended_at = now() - timedelta(days=days)
    response.look()
    assert len(alerts(unit_of_work)) == 2


def test_calendar_counts_from_the_last_run_and_not_from_the_end_of_its_alert(
    unit_of_work: UnitOfWork,
) -> None:
    response = respond(unit_of_work, train_every_days=3)
    response.look()
    end_run(unit_of_work, "out of memory", status="failed")
    response.look()
    with unit_of_work() as work:
        run = work.session.scalars(select(TrainingRun)).one()
        run.requested_at = now() - timedelta(days=3)
    response.look()
    assert len(runs(unit_of_work)) == 2


def add_labels(unit_of_work: UnitOfWork, count: int, role: str = "operator") -> None:
    user = make_user(f"u{new_id()}", role=role)
    ages = {"labelled_at": now(), "labelled_by_id": user.id}
    add(unit_of_work, user, *(make_job(user, label=10, **ages) for _ in range(count)))


def test_enough_new_labels_request_a_training(unit_of_work: UnitOfWork) -> None:
    add(unit_of_work, dataset(1))
    response = respond(unit_of_work, train_every_labels=3)
    add_labels(unit_of_work, 2)
    add_labels(unit_of_work, 5, role="client")
    response.look()
    assert not alerts(unit_of_work)
    add_labels(unit_of_work, 1)
    for _ in range(3):
        response.look()
    # They are imported first, and then no longer new.
    (alert,) = alerts(unit_of_work)
    assert (alert.kind, alert.status) == ("labels", "training")
    assert alert.summary == "3 labels are in no version of the dataset yet"
    with unit_of_work() as work:
        version = work.session.scalars(
            select(DatasetVersion).where(DatasetVersion.status == "checking")
        ).one()
        assert version.asked["corrected"]
        version.status = "ready"
    for _ in range(3):
        response.look()
    (run,) = runs(unit_of_work)
    assert run.dataset == "shop@2"
    end_run(unit_of_work, "The champion stays")
    response.look()
    assert len(alerts(unit_of_work)) == 1


@pytest.mark.parametrize(
    ("kind", "days", "every", "least", "is_raised"),
    [
        ("text", 1, 100, 3, True),
        ("text", 31, 100, 3, False),
        ("labels", 1, 100, 3, False),
        ("text", 1, 100, 4, False),
        ("text", 1, 3, 100, True),
        ("text", 1, 100, 0, False),
        ("text", 1, 0, 3, False),
    ],
)
def test_fewer_labels_request_the_next_training_after_a_change(
    unit_of_work: UnitOfWork, kind: str, days: int, every: int, least: int, is_raised: bool
) -> None:
    add(unit_of_work, dataset(1))
    alert_id = alert_of(unit_of_work, kind)
    respond(unit_of_work, train_every_labels=0).decide(alert_id)
    end_run(unit_of_work, "Promoted")
    respond(unit_of_work, train_every_labels=0).look()
    with unit_of_work() as work:
        work.session.get_one(DriftAlert, alert_id).raised_at = now() - timedelta(days=days)
    add_labels(unit_of_work, 3)
    respond(unit_of_work, train_every_labels=every, least_labels=least).look()
    assert [one.kind for one in alerts(unit_of_work)[1:]] == ["labels"] * is_raised


def test_first_training_after_a_change_is_not_asked_for_by_labels_of_before(
    unit_of_work: UnitOfWork,
) -> None:
    alert_id = changed(unit_of_work)
    label(unit_of_work, 5, minutes_ago=90)
    respond(unit_of_work, train_every_labels=100, least_labels=3).look()
    assert [one.id for one in alerts(unit_of_work)] == [alert_id]
    assert not runs(unit_of_work)


@pytest.mark.parametrize(("every", "names"), [(0, ["shop"]), (3, [])], ids=["off", "no dataset"])
def test_labels_request_no_training_where_it_is_off_or_nothing_can_be_trained_on(
    unit_of_work: UnitOfWork, every: int, names: list[str]
) -> None:
    add(unit_of_work, *(dataset(1, name) for name in names))
    add_labels(unit_of_work, 5)
    respond(unit_of_work, train_every_labels=every).look()
    assert not alerts(unit_of_work)


def test_labels_older_than_a_plain_upload_are_new_until_a_version_imports_them(
    unit_of_work: UnitOfWork,
) -> None:
    # Given a label newer than the last label import, and a plain upload after it
    user, day = make_user(role="operator"), timedelta(days=1)
    add(
        unit_of_work,
        user,
        dataset(1, asked={"corrected": True}, created_at=now() - 3 * day),
        dataset(1, "other", asked={"corrected": True}, created_at=now() - day),
        dataset(2, status="failed", asked={"corrected": True}, created_at=now() - day),
        dataset(3, asked={"corrected": False}),
        make_job(user, label=10, labelled_at=now() - 4 * day, labelled_by_id=user.id),
        make_job(user, label=10, labelled_at=now() - 2 * day, labelled_by_id=user.id),
    )
    response, alert_id = respond(unit_of_work, dataset="shop"), alert_of(unit_of_work)
    response.decide(alert_id)
    assert "new labels into the dataset: 1 into" in show(unit_of_work, alert_id).steps[-1]["text"]


def test_untrusted_labels_are_not_imported(unit_of_work: UnitOfWork) -> None:
    client = make_user("client")
    add(unit_of_work, client, dataset(1))
    add(unit_of_work, make_job(client, label=10, labelled_at=now(), labelled_by_id=client.id))
    respond(unit_of_work).decide(alert_of(unit_of_work))
    (run,) = runs(unit_of_work)
    assert run.dataset == "shop@1"


@pytest.mark.parametrize("labels_trusted", [True, False])
def test_dataset_with_labels_that_lost_the_trust_is_built_anew(
    unit_of_work: UnitOfWork, labels_trusted: bool
) -> None:
    client = make_user("client", labels_trusted=labels_trusted)
    shares = [{"user": "client", "user_id": client.id, "rows": 5, "share": 0.1}]
    add(unit_of_work, client, dataset(1, report={"labels": shares}))
    respond(unit_of_work).decide(alert_of(unit_of_work))
    with unit_of_work.reading() as session:
        newest = session.scalars(select(DatasetVersion).order_by(DatasetVersion.version)).all()[-1]
    assert newest.version == (1 if labels_trusted else 2)
    assert [run.dataset for run in runs(unit_of_work)] == (["shop@1"] if labels_trusted else [])


def test_alert_does_not_train_on_untrusted_labels_that_cannot_be_removed(
    unit_of_work: UnitOfWork,
) -> None:
    client = make_user("client")
    shares = [{"user": "client", "user_id": client.id, "rows": 5, "share": 0.1}]
    add(unit_of_work, client, dataset(1, report={"labels": shares}))
    response, alert_id = respond(unit_of_work), alert_of(unit_of_work)
    response.decide(alert_id)
    set_status_of_newest(unit_of_work, "failed")
    response.look()
    alert = show(unit_of_work, alert_id)
    assert (alert.status, runs(unit_of_work)) == (AlertStatus.ENDED.value, [])
    assert "shop@1 contains labels of users who are not trusted: client" in alert.steps[-1]["text"]


def test_dataset_without_recorded_authors_is_built_anew(unit_of_work: UnitOfWork) -> None:
    add(unit_of_work, dataset(1, report={"rows": 10}))
    respond(unit_of_work).decide(alert_of(unit_of_work))
    assert runs(unit_of_work) == []


def test_labels_of_deleted_products_are_not_imported(unit_of_work: UnitOfWork) -> None:
    user = make_user(role="operator")
    add(unit_of_work, user, dataset(1))
    gone = make_job(user, label=10, labelled_at=now(), labelled_by_id=user.id, designation="")
    add(unit_of_work, gone)
    respond(unit_of_work).decide(alert_of(unit_of_work))
    (run,) = runs(unit_of_work)
    assert run.dataset == "shop@1"


def test_degraded_input_asks_people_and_starts_no_training(
    unit_of_work: UnitOfWork,
) -> None:
    # Given an unrelated training in progress
    add(unit_of_work, TrainingRun(requested_by="olga", reason="mine"))
    alert_id = alert_of(unit_of_work, "quality")
    respond(unit_of_work).look()
    alert = show(unit_of_work, alert_id)
    assert (alert.status, alert.training_run_id) == (AlertStatus.ASKING.value, None)
    assert "Not retrained: input data degraded; contact the sender" in alert.steps[-1]["text"]
    assert f"POST /v1/drift-alerts/{alert_id}/dismiss" in alert.steps[-1]["text"]


@pytest.mark.parametrize(
    "changes",
    [
        {"details": {"allowed_by": "olga"}},
        {"kind": "text+quality"},
        {"source": "person", "raised_by": "olga"},
    ],
    ids=["a person allowed it", "text moved too", "a person raised it"],
)
def test_quality_alert_starts_a_training_if_allowed_or_not_quality_alone(
    unit_of_work: UnitOfWork, changes: dict[str, Any]
) -> None:
    respond(unit_of_work).decide(alert_of(unit_of_work, **{"kind": "quality", **changes}))
    assert len(runs(unit_of_work)) == 1
