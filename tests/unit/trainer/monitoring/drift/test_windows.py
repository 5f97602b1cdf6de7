"""Drift windows in a real database, measured against the reference of a release."""

import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prometheus_client import REGISTRY
from sqlalchemy import delete, select
from structlog.testing import capture_logs

from shared.contracts import DriftDetected, Modality
from shared.db.models import DriftAlert, DriftWindow, Job, Score, TrainingRun, User, now
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from shared.inference.preparation.decoders import prepare
from shared.inference.preparation.text import product_text
from shared.settings import StorageSettings
from shared.storage import Storage
from tests.support.factories import CODES, make_job, make_user
from tests.support.fakes import FakeBroker
from tests.support.folder_registry import FolderRegistry
from tests.support.tiny_release import write_tiny_release
from tests.unit.gateway import conftest as gateway
from tests.unit.trainer.monitoring.products import ENGLISH, make_products, reference
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.drift.windows import DriftWatch
from trainer.monitoring.settings import DriftSettings, MonitorSettings
from trainer.reference.sample import Products

broker, migrated, unit_of_work = gateway.broker, gateway.migrated, gateway.unit_of_work

ROWS = 120
#: Windows lie in the past, where all transactions are committed.
BEGIN = now() - timedelta(days=3)


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    """Return a registry whose champion has a reference."""
    folder = write_tiny_release(tmp_path / "release")
    reference().save(folder)
    registry = FolderRegistry(tmp_path / "registry")
    registry.mark_champion(registry.register(folder, description="with a reference"))
    return registry


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path / "storage")))


@pytest.fixture
def user(unit_of_work: UnitOfWork) -> User:
    user = make_user()
    with unit_of_work() as work:
        work.session.add(user)
    return user


def watch(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, **settings: Any
) -> DriftWatch:
    values = {"window_rows": ROWS, "least_rows": 100, **settings}
    return DriftWatch(unit_of_work, registry, storage, DriftSettings(**values))


def answer(
    unit_of_work: UnitOfWork,
    user: User,
    products: Products,
    *,
    begin: datetime = BEGIN,
    release: str = "1",
    slices: int = 40,
) -> list[str]:
    """Answer products in slices, each at one time; return the job ids."""
    jobs, scores = [], []
    for place, (title, body) in enumerate(products.texts):
        job = make_job(
            user,
            designation=title,
            description=body,
            release=release,
            status="done",
            finished_at=begin + timedelta(seconds=place // slices),
            prdtypecode=CODES[products.answers[place]],
        )
        row = products.scores[Modality.TEXT][place]
        jobs.append(job)
        scores.append(
            Score(
                job_id=job.id,
                modality="text",
                release=release,
                probabilities=row.astype("<f4").tobytes(),
            )
        )
    with unit_of_work() as work:
        work.session.add_all(jobs)
        work.session.flush()
        work.session.add_all(scores)
    return [job.id for job in jobs]


def windows(unit_of_work: UnitOfWork) -> list[DriftWindow]:
    with unit_of_work.reading() as session:
        return list(session.scalars(select(DriftWindow).order_by(DriftWindow.id)))


def alerts(unit_of_work: UnitOfWork) -> list[DriftAlert]:
    with unit_of_work.reading() as session:
        return list(session.scalars(select(DriftAlert).order_by(DriftAlert.id)))


def test_drift_in_two_windows_raises_one_alert_with_examples(
    unit_of_work: UnitOfWork,
    registry: FolderRegistry,
    storage: Storage,
    user: User,
    broker: FakeBroker,
) -> None:
    # Given answers to shortened texts
    drift = watch(unit_of_work, registry, storage)
    ids = answer(unit_of_work, user, make_products(ROWS, seed=1, length=2))
    # When one window is measured, I expect no alert
    assert drift.look() == 1
    assert windows(unit_of_work)[0].moved == ["text"]
    assert alerts(unit_of_work) == []
    # When the next window moves too, I expect an alert about text with example products
    later = BEGIN + timedelta(hours=1)
    ids += answer(unit_of_work, user, make_products(ROWS, seed=2, length=2), begin=later)
    assert drift.look() == 1
    (alert,) = alerts(unit_of_work)
    assert (alert.kind, alert.release, alert.source) == ("text", "1", "monitor")
    assert alert.summary.startswith("Texts differ from the reference: ")
    measured = alert.details["measured"]["text"]
    assert measured["effect"] > measured["threshold"]
    assert {example["job_id"] for example in measured["examples"]} <= set(ids[ROWS:])
    assert measured["examples"][0]["designation"]
    assert broker.messages == [DriftDetected(trace_id=alert_trace(broker), alert_id=alert.id)]
    # When a third window moves, I expect no second alert within the cool-down
    later = BEGIN + timedelta(hours=2)
    answer(unit_of_work, user, make_products(ROWS, seed=3, length=2), begin=later)
    assert drift.look() == 1
    assert len(alerts(unit_of_work)) == 1


def alert_trace(broker: FakeBroker) -> str:
    return broker.messages[0].trace_id


def test_single_windows_that_moved_raise_no_alert(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    for number, length in enumerate((2, 8, 2, 8)):
        begin = BEGIN + timedelta(hours=number)
        products = make_products(ROWS, seed=number + 1, length=length)
        answer(unit_of_work, user, products, begin=begin)
    assert watch(unit_of_work, registry, storage).look() == 4
    assert [window.moved for window in windows(unit_of_work)] == [["text"], [], ["text"], []]
    assert alerts(unit_of_work) == []


def test_window_ends_with_a_slice_and_the_next_begins_after_it(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    # Given slices of 50, of which the third exceeds the window size
    answer(unit_of_work, user, make_products(300, seed=1), slices=50)
    assert watch(unit_of_work, registry, storage).look() == 2
    # Then every answer is in exactly one window
    first, second = windows(unit_of_work)
    assert (first.rows, second.rows) == (150, 150)
    assert first.ends_at < second.begins_at


def test_restarted_monitor_continues_after_the_last_window(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    answer(unit_of_work, user, make_products(ROWS, seed=1))
    assert watch(unit_of_work, registry, storage).look() == 1
    assert watch(unit_of_work, registry, storage).look() == 0


def test_small_window_waits_until_its_maximum_duration(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    answer(unit_of_work, user, make_products(110, seed=1), begin=now() - timedelta(hours=2))
    assert watch(unit_of_work, registry, storage).look() == 0
    assert watch(unit_of_work, registry, storage, window_seconds=3600).look() == 1


def test_too_few_answers_form_no_window(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    answer(unit_of_work, user, make_products(90, seed=1))
    assert watch(unit_of_work, registry, storage).look() == 0


def test_answers_of_another_release_are_ignored(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    answer(unit_of_work, user, make_products(ROWS, seed=1), release="2")
    assert watch(unit_of_work, registry, storage).look() == 0


def test_newest_answers_wait_until_all_transactions_are_committed(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    answer(unit_of_work, user, make_products(ROWS, seed=1), begin=now())
    assert watch(unit_of_work, registry, storage).look() == 0


def test_release_without_a_reference_is_not_measured(
    unit_of_work: UnitOfWork, storage: Storage, user: User, tmp_path: Path
) -> None:
    registry = FolderRegistry(tmp_path / "other")
    folder = write_tiny_release(tmp_path / "plain")
    registry.mark_champion(registry.register(folder, description="no reference"))
    answer(unit_of_work, user, make_products(ROWS, seed=1))
    assert watch(unit_of_work, registry, storage).look() == 0


def test_images_are_checked_and_deleted_ones_skipped(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    # Given answers whose images are black, unreadable or deleted
    file = io.BytesIO()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(file, "PNG")
    uris = [storage.put("images", file.getvalue()), storage.put("images", b"broken"), "images/no"]
    ids = answer(unit_of_work, user, make_products(ROWS, seed=1))
    with unit_of_work() as work:
        for number, id_ in enumerate(ids):
            work.session.get_one(Job, id_).image_uri = uris[number % 3]
            if number % 3 == 0:
                row = np.array([0.9, 0.1], "<f4").tobytes()
                score = Score(job_id=id_, modality="image", release="1", probabilities=row)
                work.session.add(score)
    # When the window is measured
    watch(unit_of_work, registry, storage).look()
    # Then half of the existing images cannot be read
    (window,) = windows(unit_of_work)
    quality = {line["name"]: line["window"] for line in window.measured["quality"]["features"]}
    assert quality["with an image that cannot be read"] == 0.5
    assert quality["with an image that shows nothing"] == 0.5


def test_unavailable_registry_delays_the_window(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    answer(unit_of_work, user, make_products(ROWS, seed=1))
    drift = watch(unit_of_work, registry, storage)
    (registry.root / "down").touch()
    with pytest.raises(Unavailable):
        drift.look()
    (registry.root / "down").unlink()
    assert drift.look() == 1


def send(unit_of_work: UnitOfWork, user: User, hour: int, **products: Any) -> None:
    """Answer one window of products, in the given hour."""
    begin = BEGIN + timedelta(hours=hour)
    answer(unit_of_work, user, make_products(ROWS, seed=hour + 1, **products), begin=begin)


def test_degraded_input_has_its_own_alert_until_the_input_recovers(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    # Given products without titles, so that text moved too
    drift = watch(unit_of_work, registry, storage, cooldown_seconds=0)
    response = AlertResponse(unit_of_work, MonitorSettings())
    for hour in range(2):
        send(unit_of_work, user, hour, titled=0.6)
    drift.look()
    assert [window.moved for window in windows(unit_of_work)] == [["text", "quality"]] * 2
    assert {alert.kind: alert.release for alert in alerts(unit_of_work)} == {
        "text": "1",
        "quality": "1",
    }
    # When both are decided, I expect the quality alert to ask people, and not to be raised again
    response.look()
    send(unit_of_work, user, 2, titled=0.6)
    drift.look()
    quality_alerts = [alert for alert in alerts(unit_of_work) if alert.kind == "quality"]
    assert [alert.status for alert in quality_alerts] == ["asking"]
    # When one window has recovered, I expect the alert to stay; it may be chance
    send(unit_of_work, user, 3)
    drift.look()
    assert [alert.status for alert in alerts(unit_of_work)] == ["training", "asking"]
    # When a second one has, I expect it to end, and the training for text to continue
    send(unit_of_work, user, 4)
    drift.look()
    text, quality = alerts(unit_of_work)
    assert (text.status, quality.status) == ("training", "ended")
    assert quality.ended_at is not None
    assert "Input data recovered" in quality.steps[-1]["text"]


def test_quality_alert_in_training_is_not_ended_by_recovered_input(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    drift = watch(unit_of_work, registry, storage)
    for hour in range(2):
        send(unit_of_work, user, hour, titled=0.6)
    drift.look()
    with unit_of_work() as work:
        for alert in work.session.scalars(select(DriftAlert)):
            alert.status = "training"
    for hour in range(2, 4):
        send(unit_of_work, user, hour)
    drift.look()
    assert {alert.status for alert in alerts(unit_of_work)} == {"training"}


def poisoned(content: bytes, size: int) -> np.ndarray:
    if content == POISON:
        raise ZeroDivisionError("an odd EXIF block")
    return prepare(content, size)


def test_window_with_rows_that_raise_is_judged_and_names_them(
    unit_of_work: UnitOfWork,
    registry: FolderRegistry,
    storage: Storage,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a thousand answers, ten of which have a text, an image or scores that raise
    monkeypatch.setattr("trainer.reference.descriptors.prepare", poisoned)
    monkeypatch.setattr("trainer.reference.descriptors.product_text", poisoned_text)
    ids = answer(unit_of_work, user, make_products(1000, seed=3))
    white = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(white, "PNG")
    good, bad = storage.put("images", white.getvalue()), storage.put("images", POISON)
    with unit_of_work() as work:
        jobs = [work.session.get_one(Job, id_) for id_ in ids]
        for job in jobs[100:110]:
            job.image_uri = good
        for job in jobs[:4]:
            job.image_uri = bad
        for job in jobs[4:8]:
            job.designation = POISON.decode()
        for job in jobs[8:10]:
            score = work.session.get_one(Score, (job.id, "text"))
            score.probabilities = b"\0\1\2"
    before = skipped()
    # When the windows are measured, I expect one with a verdict, and the ten rows in the log
    with capture_logs() as events:
        assert watch(unit_of_work, registry, storage, window_rows=1000).look() == 1
    (window,) = windows(unit_of_work)
    assert (window.rows, window.measured["text"]["rows"]) == (1000, 994)
    assert "quality" in window.measured
    named = {event["row"] for event in events if event["event"] == "row_skipped"}
    assert named == set(ids[:10])
    assert skipped() == before + 10


POISON = b"a row that raises"


def poisoned_text(title: str, body: str) -> str:
    if title == POISON.decode():
        raise ValueError("an odd text")
    return product_text(title, body)


def skipped() -> float:
    return REGISTRY.get_sample_value("rayon_rows_skipped_total", {"loop": "drift"}) or 0.0


def test_failure_of_the_storage_still_delays_the_window(
    unit_of_work: UnitOfWork,
    registry: FolderRegistry,
    storage: Storage,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (first, *_) = answer(unit_of_work, user, make_products(ROWS, seed=1))
    with unit_of_work() as work:
        work.session.get_one(Job, first).image_uri = storage.put("images", b"x")

    def down(_uri: str) -> bytes:
        raise Unavailable("The storage does not answer")

    monkeypatch.setattr(Storage, "get", lambda _self, uri: down(uri))
    with pytest.raises(Unavailable):
        watch(unit_of_work, registry, storage).look()
    assert windows(unit_of_work) == []


def answered_by(unit_of_work: UnitOfWork, release: str, kind: str) -> None:
    """Record that a release was trained for an alert about the release before."""
    run = TrainingRun(
        requested_by="monitor",
        reason="drift",
        status="finished",
        finished_at=BEGIN,
        version=release,
    )
    with unit_of_work() as work:
        work.session.add(run)
        work.session.flush()
        alert = DriftAlert(
            source="monitor",
            raised_by="drift",
            kind=kind,
            release="0",
            status="ended",
            ended_at=BEGIN,
            fingerprint=f"drift:0:{kind}",
            summary="Texts differ",
            details={},
            steps=[],
            training_run_id=run.id,
        )
        work.session.add(alert)


def test_change_that_the_release_was_trained_for_raises_no_alert(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    # Given a release whose training answered an alert about texts, and a cool-down that is over
    answered_by(unit_of_work, "1", "text+prediction")
    drift = watch(unit_of_work, registry, storage, cooldown_seconds=0)
    # When the changed products go on, which are still unlike those of the training
    for hour in range(3):
        send(unit_of_work, user, hour, length=2)
    drift.look()
    # Then they are measured, and count as no drift
    found = windows(unit_of_work)
    texts = [window.measured["text"] for window in found]
    assert all(text["effect"] > text["threshold"] for text in texts)
    assert [window.moved for window in found] == [[], [], []]
    assert [alert.release for alert in alerts(unit_of_work)] == ["0"]


def test_next_change_of_a_kind_that_was_answered_raises_an_alert(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    answered_by(unit_of_work, "1", "text")
    drift = watch(unit_of_work, registry, storage, cooldown_seconds=0)
    send(unit_of_work, user, 0, length=2)
    for hour in (1, 2):
        send(unit_of_work, user, hour, length=3, words=ENGLISH)
    drift.look()
    assert ["text" in window.moved for window in windows(unit_of_work)] == [False, True, True]
    assert [(alert.release, alert.kind) for alert in alerts(unit_of_work)][1:] == [("1", "text")]


def test_alert_that_trained_another_release_answers_nothing(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    answered_by(unit_of_work, "2", "text")
    send(unit_of_work, user, 0, length=2)
    watch(unit_of_work, registry, storage).look()
    assert [window.moved for window in windows(unit_of_work)] == [["text"]]


def test_answered_kind_counts_again_once_its_first_products_are_deleted(
    unit_of_work: UnitOfWork, registry: FolderRegistry, storage: Storage, user: User
) -> None:
    answered_by(unit_of_work, "1", "text")
    drift = watch(unit_of_work, registry, storage)
    send(unit_of_work, user, 0, length=2)
    drift.look()
    with unit_of_work() as work:
        work.session.execute(delete(Score))
        work.session.execute(delete(Job))
    send(unit_of_work, user, 1, length=2)
    drift.look()
    assert [window.moved for window in windows(unit_of_work)] == [[], ["text"]]
