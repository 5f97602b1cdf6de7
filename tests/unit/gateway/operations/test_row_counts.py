"""Tests of the counts that the scheduler exports as metrics."""

from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import REGISTRY

from gateway.operations.row_counts import RowCounts
from shared.broker import Broker, Worker
from shared.db.models import Catalog, DeadLetter, User, now
from shared.db.session import UnitOfWork
from shared.errors import Unavailable
from shared.settings import StorageSettings
from shared.storage import Storage
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker


@pytest.fixture
def row_counts(unit_of_work: UnitOfWork, broker: FakeBroker, tmp_path: Path) -> RowCounts:
    storage = Storage(StorageSettings(url=str(tmp_path / "files")))
    return RowCounts(unit_of_work, cast(Broker, broker), storage)


@pytest.fixture
def user(unit_of_work: UnitOfWork) -> User:
    user = make_user()
    with unit_of_work() as work:
        work.session.add(user)
    return user


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_jobs_are_counted_by_status(
    row_counts: RowCounts, unit_of_work: UnitOfWork, user: User
) -> None:
    with unit_of_work() as work:
        work.session.add_all(make_job(user, status=one) for one in ("done", "done", "failed"))
        work.session.add(make_job(user))
    row_counts.count_all()
    counts = [value("rayon_jobs", status=one) for one in ("queued", "done", "failed", "cancelled")]
    assert counts == [1, 2, 1, 0]


def test_age_of_the_oldest_unfinished_job_is_exported(
    row_counts: RowCounts, unit_of_work: UnitOfWork, user: User
) -> None:
    with unit_of_work() as work:
        work.session.add(make_job(user, created_at=now() - timedelta(minutes=5)))
        work.session.add(make_job(user, created_at=now()))
        work.session.add(make_job(user, created_at=now() - timedelta(days=1), status="done"))
    row_counts.count_unfinished()
    oldest = value("rayon_jobs_oldest_seconds", lane="interactive")
    assert oldest == pytest.approx(300, abs=5)
    assert value("rayon_jobs_oldest_seconds", lane="catalog") == 0
    assert value("rayon_jobs", status="queued") == 2


def test_deleted_dead_letters_are_removed_from_the_metrics(
    row_counts: RowCounts, unit_of_work: UnitOfWork
) -> None:
    letter = DeadLetter(
        topic="score_text",
        payload={},
        fingerprint="f",
        error="broken",
        deliveries=4,
        parked_at=now(),
    )
    with unit_of_work() as work:
        work.session.add(letter)
    row_counts.count_unfinished()
    assert value("rayon_dead_letters", topic="score_text") == 1
    with unit_of_work() as work:
        work.session.delete(work.session.get_one(DeadLetter, letter.id))
    row_counts.count_unfinished()
    assert value("rayon_dead_letters", topic="score_text") is None


def test_catalogs_are_counted_by_status(
    row_counts: RowCounts, unit_of_work: UnitOfWork, user: User
) -> None:
    with unit_of_work() as work:
        work.session.add(
            Catalog(
                user_id=user.id,
                trace_id="0" * 32,
                name="products.csv",
                model="fusion",
                release="1",
                dry_run=False,
                fingerprint="f",
                size=10,
                has_images=False,
                status="running",
            )
        )
    row_counts.count_all()
    assert value("rayon_catalogs", status="running") == 1
    assert value("rayon_catalogs", status="failed") == 0


def test_queue_without_a_worker_counts_zero(row_counts: RowCounts, broker: FakeBroker) -> None:
    broker.present = [Worker("text@a:1", ("text.interactive", "text.catalog"), (), 0, 0, None)]
    row_counts.count_workers()
    assert value("rayon_workers", queue="text.interactive") == 1
    assert value("rayon_workers", queue="image.interactive") == 0


def test_dependency_is_down_until_it_responds(row_counts: RowCounts, broker: FakeBroker) -> None:
    broker.is_down = True
    row_counts.probe()
    assert value("rayon_dependency_up", dependency="queue") == 0
    assert value("rayon_dependency_up", dependency="database") == 1
    broker.is_down = False
    row_counts.probe()
    assert value("rayon_dependency_up", dependency="queue") == 1
    assert (value("rayon_free_bytes", dependency="storage") or 0) > 0


def test_workers_are_unknown_while_the_queue_is_down(
    row_counts: RowCounts, broker: FakeBroker
) -> None:
    broker.is_down = True
    with pytest.raises(Unavailable):
        row_counts.count_workers()
