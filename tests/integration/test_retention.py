"""Retention deletes old data and keeps the rest, on both databases."""

import errno
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.catalogs.resume import retry
from gateway.catalogs.service import CATALOGS
from gateway.catalogs.slices import failed_after
from gateway.identity.principal import Principal
from gateway.jobs.submission import IMAGES
from gateway.operations.retention import Retention
from gateway.settings import RetentionSettings
from shared.db.models import (
    Base,
    Catalog,
    CatalogRowRepair,
    DatasetVersion,
    DeadLetter,
    Job,
    Review,
    Role,
    Score,
    User,
    first_id_of,
    new_catalog_id,
    new_id,
    now,
    row_job_id,
)
from shared.db.session import UnitOfWork
from shared.errors import Conflict, NotFound, Unavailable
from shared.settings import StorageSettings
from shared.storage import INCOMING, Storage
from tests.support.factories import make_job, make_user

JOB_DAYS, IMAGE_DAYS = 90, 30
ANSWER: dict[str, Any] = {"top": [], "modalities": {}, "degraded": None, "category": "Piscine"}


@dataclass
class Store:
    """A database and a storage with data of any age, and their retention."""

    unit_of_work: UnitOfWork
    storage: Storage
    user: User

    def add(self, *rows: Base) -> None:
        with self.unit_of_work() as work:
            work.session.add_all(rows)

    def job(self, days: float, **changes: Any) -> Job:
        """Add a job that finished some days ago, with one score."""
        finished = {"status": "done", "prdtypecode": 2583, "confidence": 0.9, "result": ANSWER}
        id_ = id_of(days)
        moment = now() - timedelta(days=days)
        fields = {"id": id_, "created_at": moment, "finished_at": moment, **finished, **changes}
        job = make_job(self.user, **fields)
        self.add(job)
        self.add(Score(job_id=job.id, modality="text", release="1", probabilities=b"\0" * 8))
        return job

    def reviewer(self) -> str:
        """Add an operator, whose labels are trusted, and return the account's id."""
        olga = make_user("olga", role=Role.OPERATOR.value)
        self.add(olga)
        return olga.id

    def image(self, days: float, content: bytes) -> str:
        """Store an image with a modification time some days ago."""
        uri = self.storage.put(IMAGES, content)
        path = self.storage.local(uri)
        assert path is not None
        moment = (now() - timedelta(days=days)).timestamp()
        os.utime(path, (moment, moment))
        return uri

    def clean(self, **settings: Any) -> None:
        defaults = {"job_days": JOB_DAYS, "image_days": IMAGE_DAYS, "pause_seconds": 0, "batch": 2}
        Retention(
            self.unit_of_work, self.storage, RetentionSettings(**{**defaults, **settings})
        ).clean()

    def read(self, job: Job) -> Job | None:
        with self.unit_of_work.reading() as session:
            return session.get(Job, job.id)

    def has_score(self, job: Job) -> bool:
        with self.unit_of_work.reading() as session:
            return session.get(Score, (job.id, "text")) is not None

    def has_image(self, uri: str) -> bool:
        try:
            return bool(self.storage.get(uri))
        except NotFound:
            return False


def id_of(days: float) -> str:
    """Return an id of some days ago."""
    return first_id_of(now() - timedelta(days=days))[:13] + new_id()[13:]


@pytest.fixture
def store(unit_of_work: UnitOfWork, user: User, tmp_path: Path) -> Store:
    return Store(unit_of_work, Storage(StorageSettings(url=str(tmp_path / "storage"))), user)


def dataset_version(at: datetime, **changes: Any) -> DatasetVersion:
    fields: dict[str, Any] = {
        "name": "shop",
        "version": 1,
        "status": "ready",
        "created_at": at,
        "created_by": "ada",
        "asked": {"corrected": True},
    }
    return DatasetVersion(**{**fields, **changes})


def test_old_jobs_keep_only_their_results(store: Store) -> None:
    old = [store.job(JOB_DAYS + 1, designation=f"Piscine {number}") for number in range(5)]
    young = store.job(JOB_DAYS - 1)
    store.clean()
    for job in old:
        left = store.read(job)
        assert left is not None
        assert (left.designation, left.description, left.image_uri) == ("", "", None)
        assert (left.prdtypecode, left.confidence, left.result) == (2583, 0.9, ANSWER)
        assert not store.has_score(job)
    left = store.read(young)
    assert left is not None
    assert left.designation == "Piscine gonflable"
    assert store.has_score(young)


def test_old_jobs_are_deleted_if_results_are_not_kept(store: Store) -> None:
    old, young = store.job(JOB_DAYS + 1), store.job(JOB_DAYS - 1)
    store.clean(keep_results=False)
    assert store.read(old) is None
    assert not store.has_score(old)
    assert store.read(young) is not None


def test_nothing_is_deleted_by_default(store: Store) -> None:
    image = store.image(5000, b"old")
    old = store.job(5000, image_uri=image)
    Retention(store.unit_of_work, store.storage, RetentionSettings()).clean()
    left = store.read(old)
    assert left is not None
    assert left.designation == "Piscine gonflable"
    assert store.has_image(image)


def test_incomplete_file_of_a_killed_process_is_deleted_after_a_day(store: Store) -> None:
    for name, hours in (("left", 25), ("being-written", 23)):
        store.storage.put_at(f"{INCOMING}/{name}", b"half of it")
        moment = (now() - timedelta(hours=hours)).timestamp()
        os.utime(str(store.storage.local(f"{INCOMING}/{name}")), (moment, moment))
    Retention(store.unit_of_work, store.storage, RetentionSettings()).clean()
    assert [file.uri for file in store.storage.files(INCOMING)] == [f"{INCOMING}/being-written"]


def test_unfinished_job_is_kept_at_any_age(store: Store) -> None:
    image = store.image(IMAGE_DAYS + 5, b"waiting")
    job = store.job(JOB_DAYS + 1, status="queued", image_uri=image)
    store.clean(keep_results=False)
    assert store.read(job) is not None
    assert store.has_image(image)


def test_client_cannot_keep_its_data_by_labelling_it(store: Store) -> None:
    image = store.image(JOB_DAYS + 5, b"labelled")
    labelled = {"label": 10, "labelled_at": now(), "labelled_by_id": store.user.id}
    job = store.job(JOB_DAYS + 5, image_uri=image, **labelled)
    store.add(Review(job_id=job.id, reason="random", chance=0.1, random_chance=0.1))
    store.clean()
    left = store.read(job)
    assert left is not None
    assert (left.designation, left.label) == ("", 10)
    assert not store.has_image(image)
    with store.unit_of_work.reading() as session:
        assert session.get(Review, job.id) is None


@pytest.mark.parametrize("keep_results", [True, False])
def test_labelled_job_is_kept_until_a_dataset_version_contains_it(
    store: Store, keep_results: bool
) -> None:
    # Given an old labelled job, and versions of a dataset that do not contain it
    labelled_at = now() - timedelta(days=2)
    image = store.image(JOB_DAYS + 5, b"labelled")
    trusted = {"label": 10, "labelled_at": labelled_at, "labelled_by_id": store.reviewer()}
    job = store.job(JOB_DAYS + 5, image_uri=image, **trusted)
    store.add(
        dataset_version(labelled_at - timedelta(days=1)),
        dataset_version(now(), version=2, asked={"corrected": False}),
        dataset_version(now(), version=3, status="checking"),
    )
    store.clean(keep_results=keep_results)
    left = store.read(job)
    assert left is not None
    assert left.designation == "Piscine gonflable"
    assert store.has_image(image)
    # When a version contains it
    store.add(dataset_version(labelled_at + timedelta(days=1), version=4))
    store.clean(keep_results=keep_results)
    # Then it is deleted like any other job; a kept result keeps its label
    left = store.read(job)
    assert (left is not None) is keep_results
    if left is not None:
        assert (left.designation, left.label) == ("", 10)
    assert not store.has_image(image)


def test_images_are_deleted_earlier_except_one_that_was_submitted_again(store: Store) -> None:
    old, young = store.image(IMAGE_DAYS + 2, b"old"), store.image(3, b"young")
    again = store.image(IMAGE_DAYS + 2, b"again")
    job = store.job(IMAGE_DAYS + 2, image_uri=old)
    assert store.storage.put(IMAGES, b"again") == again
    store.clean()
    assert not store.has_image(old)
    assert store.has_image(young)
    assert store.has_image(again)
    left = store.read(job)
    assert left is not None
    assert left.designation == "Piscine gonflable"


def test_reviews_of_deleted_products_are_deleted_and_labelled_ones_kept(store: Store) -> None:
    unlabelled = store.job(JOB_DAYS + 1)
    trusted = {"labelled_at": now() - timedelta(days=80), "labelled_by_id": store.reviewer()}
    labelled = store.job(JOB_DAYS + 1, label=10, **trusted)
    store.add(dataset_version(now()))
    for job in (unlabelled, labelled):
        store.add(Review(job_id=job.id, reason="random", chance=0.1, random_chance=0.1))
    store.clean()
    with store.unit_of_work.reading() as session:
        assert session.get(Review, unlabelled.id) is None
        assert session.get(Review, labelled.id) is not None


def add_catalog(store: Store, days: float, **changes: Any) -> Catalog:
    """Add a finished catalog with its files and one failed row."""
    id_ = id_of(days)[:-8] + "0" * 8
    fields: dict[str, Any] = {
        "id": id_,
        "user_id": store.user.id,
        "trace_id": "0" * 32,
        "name": "products.csv",
        "model": "text",
        "release": "1",
        "dry_run": False,
        "fingerprint": "f",
        "size": 1,
        "has_images": False,
        "status": "finished",
        "rows": 1,
        "fed": 1,
    }
    catalog = Catalog(**{**fields, **changes})
    store.add(catalog)
    store.storage.put_at(f"{CATALOGS}/{id_}/products", b"designation\nPiscine\n")
    store.job(days, id=row_job_id(id_, 1), catalog_id=id_, status="failed", result=None)
    return catalog


def test_files_of_old_catalogs_are_deleted(store: Store) -> None:
    old, young = add_catalog(store, JOB_DAYS + 1), add_catalog(store, 1)
    running = add_catalog(store, JOB_DAYS + 1, status="running")
    stray = id_of(JOB_DAYS + 1)
    store.storage.put_at(f"{CATALOGS}/{stray}/products", b"")
    store.clean()
    left = {uri.rpartition("/")[2] for uri in store.storage.folders(CATALOGS)}
    assert left == {young.id, running.id}
    with store.unit_of_work.reading() as session:
        assert session.get(Catalog, old.id) is not None


def test_repairs_of_old_catalogs_are_deleted_with_their_files(store: Store) -> None:
    old, young = add_catalog(store, JOB_DAYS + 1), add_catalog(store, 1)
    for catalog in (old, young):
        store.add(CatalogRowRepair(catalog_id=catalog.id, row=1, designation="Piscine"))
    store.clean()
    with store.unit_of_work.reading() as session:
        assert session.get(CatalogRowRepair, (old.id, 1)) is None
        assert session.get(CatalogRowRepair, (young.id, 1)) is not None


def test_data_that_cannot_be_deleted_stops_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogs = [add_catalog(store, JOB_DAYS + 3 - number).id for number in range(3)]
    images = sorted(store.image(IMAGE_DAYS + 2, content) for content in (b"a", b"b", b"c"))
    bad = (f"{CATALOGS}/{catalogs[1]}", images[1])
    store.add(dataset_version(now(), asked=["no object"]))

    def refuse(uri: str) -> None:
        if uri in bad:
            raise Unavailable("The storage does not answer") from PermissionError(
                errno.EACCES, "Permission denied", uri
            )

    for name in ("remove_folder", "remove_older"):
        real = getattr(Storage, name)

        def guarded(self: Storage, uri: str, *args: Any, real: Any = real) -> Any:
            refuse(uri)
            return real(self, uri, *args)

        monkeypatch.setattr(Storage, name, guarded)
    with capture_logs() as events:
        store.clean()
    left = [uri.rpartition("/")[2] for uri in store.storage.folders(CATALOGS)]
    assert left == [catalogs[1]]
    assert [store.has_image(uri) for uri in images] == [False, True, False]
    named = {event["row"] for event in events if event["event"] == "row_skipped"}
    assert {catalogs[1], images[1]} <= named
    assert any(row.startswith("dataset version of") for row in named)


def test_old_catalogs_are_deleted_if_results_are_not_kept(store: Store) -> None:
    old, young = add_catalog(store, JOB_DAYS + 1), add_catalog(store, 1)
    store.clean(keep_results=False)
    with store.unit_of_work.reading() as session:
        assert session.get(Catalog, old.id) is None
        assert session.get(Catalog, young.id) is not None


def test_rows_of_deleted_products_cannot_be_retried(store: Store) -> None:
    catalog = add_catalog(store, JOB_DAYS + 1)
    owner = Principal(store.user.id, "ada", Role.CLIENT, session_id="s")
    store.clean()
    with store.unit_of_work() as work:
        assert failed_after(work.session, catalog.id, 0, 10) == []
        with pytest.raises(Conflict, match="have been deleted"):
            retry(work.session, owner, catalog.id)


def test_old_dead_letters_are_deleted(store: Store) -> None:
    for days in (JOB_DAYS + 1, 1):
        store.add(
            DeadLetter(
                topic="score_text",
                payload={"days": days},
                fingerprint=str(days),
                error="x",
                deliveries=4,
                parked_at=now() - timedelta(days=days),
            )
        )
    store.clean()
    with store.unit_of_work.reading() as session:
        assert [letter.payload for letter in session.query(DeadLetter)] == [{"days": 1}]


def test_stopping_service_ends_the_cleaning(store: Store) -> None:
    old = [store.job(JOB_DAYS + 1) for _ in range(3)]
    settings = RetentionSettings(job_days=JOB_DAYS, batch=1, pause_seconds=0)
    retention = Retention(store.unit_of_work, store.storage, settings)
    retention.stopping.set()
    retention.clean()
    assert [job is not None and job.designation != "" for job in map(store.read, old)] == [True] * 3


def test_ids_sort_by_their_time() -> None:
    moment = now()
    assert first_id_of(moment - timedelta(milliseconds=5)) < new_id()
    assert new_catalog_id() < first_id_of(now() + timedelta(milliseconds=5))
