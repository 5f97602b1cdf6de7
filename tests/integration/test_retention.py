"""Retention: deleted and kept data, on both databases."""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.catalogs.service import CATALOGS, retry
from gateway.catalogs.slices import failed_after
from gateway.identity.principal import Principal
from gateway.jobs.service import IMAGES
from gateway.operations.retention import Retention
from gateway.settings import RetentionSettings
from shared.db.models import (
    Base,
    Catalog,
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
from shared.errors import Conflict, NotFound
from shared.settings import StorageSettings
from shared.storage import INCOMING, Storage
from tests.support.factories import make_job

JOB_DAYS, IMAGE_DAYS = 90, 30
ANSWER: dict[str, Any] = {"top": [], "modalities": {}, "degraded": None, "category": "Piscine"}


@dataclass
class Cleaned:
    """A database and a storage with things of any age, and what cleans them."""

    unit_of_work: UnitOfWork
    storage: Storage
    user: User

    def add(self, *rows: Base) -> None:
        with self.unit_of_work() as work:
            work.session.add_all(rows)

    def job(self, days: float, **changes: Any) -> Job:
        """Add a job that was answered some days ago, with one score."""
        answered = {"status": "done", "prdtypecode": 2583, "confidence": 0.9, "result": ANSWER}
        id_ = id_of(days)
        moment = now() - timedelta(days=days)
        fields = {"id": id_, "created_at": moment, "finished_at": moment, **answered, **changes}
        job = make_job(self.user, **fields)
        self.add(job)
        self.add(Score(job_id=job.id, modality="text", release="1", probabilities=b"\0" * 8))
        return job

    def image(self, days: float, content: bytes) -> str:
        """Store an image as if some days ago."""
        uri = self.storage.put(IMAGES, content)
        path = self.storage.local(uri)
        assert path is not None
        moment = (now() - timedelta(days=days)).timestamp()
        os.utime(path, (moment, moment))
        return uri

    def clean(self, **settings: Any) -> None:
        given = {"job_days": JOB_DAYS, "image_days": IMAGE_DAYS, "pause_seconds": 0, "batch": 2}
        Retention(
            self.unit_of_work, self.storage, RetentionSettings(**{**given, **settings})
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
    """An id that was made some days ago."""
    return first_id_of(now() - timedelta(days=days))[:13] + new_id()[13:]


@pytest.fixture
def cleaned(unit_of_work: UnitOfWork, user: User, tmp_path: Path) -> Cleaned:
    return Cleaned(unit_of_work, Storage(StorageSettings(url=str(tmp_path / "storage"))), user)


def taken_in(at: datetime, **changes: Any) -> DatasetVersion:
    fields: dict[str, Any] = {
        "name": "shop",
        "version": 1,
        "status": "ready",
        "created_at": at,
        "created_by": "ada",
        "asked": {"corrected": True},
    }
    return DatasetVersion(**{**fields, **changes})


def test_old_jobs_keep_their_answers_alone(cleaned: Cleaned) -> None:
    old = [cleaned.job(JOB_DAYS + 1, designation=f"Piscine {number}") for number in range(5)]
    young = cleaned.job(JOB_DAYS - 1)
    cleaned.clean()
    for job in old:
        left = cleaned.read(job)
        assert left is not None
        assert (left.designation, left.description, left.image_uri) == ("", "", None)
        assert (left.prdtypecode, left.confidence, left.result) == (2583, 0.9, ANSWER)
        assert not cleaned.has_score(job)
    left = cleaned.read(young)
    assert left is not None
    assert left.designation == "Piscine gonflable"
    assert cleaned.has_score(young)


def test_old_jobs_go_whole_where_results_are_not_kept(cleaned: Cleaned) -> None:
    old, young = cleaned.job(JOB_DAYS + 1), cleaned.job(JOB_DAYS - 1)
    cleaned.clean(keep_results=False)
    assert cleaned.read(old) is None
    assert not cleaned.has_score(old)
    assert cleaned.read(young) is not None


def test_nothing_goes_by_default(cleaned: Cleaned) -> None:
    old, image = cleaned.job(5000), cleaned.image(5000, b"old")
    Retention(cleaned.unit_of_work, cleaned.storage, RetentionSettings()).clean()
    left = cleaned.read(old)
    assert left is not None
    assert left.designation == "Piscine gonflable"
    assert cleaned.has_image(image)


def test_file_that_a_killed_process_left_half_written_goes_after_a_day(cleaned: Cleaned) -> None:
    for name, hours in (("left", 25), ("being-written", 23)):
        cleaned.storage.put_at(f"{INCOMING}/{name}", b"half of it")
        moment = (now() - timedelta(hours=hours)).timestamp()
        os.utime(str(cleaned.storage.local(f"{INCOMING}/{name}")), (moment, moment))
    Retention(cleaned.unit_of_work, cleaned.storage, RetentionSettings()).clean()
    assert [file.uri for file in cleaned.storage.files(INCOMING)] == [f"{INCOMING}/being-written"]


def test_unfinished_job_stays_however_old(cleaned: Cleaned) -> None:
    image = cleaned.image(IMAGE_DAYS + 5, b"waiting")
    job = cleaned.job(JOB_DAYS + 1, status="queued", image_uri=image)
    cleaned.clean(keep_results=False)
    assert cleaned.read(job) is not None
    assert cleaned.has_image(image)


@pytest.mark.parametrize("keep_results", [True, False])
def test_labelled_job_stays_until_a_dataset_has_taken_it_in(
    cleaned: Cleaned, keep_results: bool
) -> None:
    # Given a labelled job that is too old, and versions of a dataset that did not take it in
    labelled_at = now() - timedelta(days=2)
    image = cleaned.image(JOB_DAYS + 5, b"labelled")
    job = cleaned.job(JOB_DAYS + 5, image_uri=image, label=10, labelled_at=labelled_at)
    cleaned.add(
        taken_in(labelled_at - timedelta(days=1)),
        taken_in(now(), version=2, asked={"corrected": False}),
        taken_in(now(), version=3, status="checking"),
    )
    cleaned.clean(keep_results=keep_results)
    left = cleaned.read(job)
    assert left is not None
    assert left.designation == "Piscine gonflable"
    assert cleaned.has_image(image)
    # When one has
    cleaned.add(taken_in(labelled_at + timedelta(days=1), version=4))
    cleaned.clean(keep_results=keep_results)
    # I expect it to go like any other, its label with its answer
    left = cleaned.read(job)
    assert (left is not None) is keep_results
    if left is not None:
        assert (left.designation, left.label) == ("", 10)
    assert not cleaned.has_image(image)


def test_images_go_earlier_and_one_that_was_sent_again_stays(cleaned: Cleaned) -> None:
    old, young = cleaned.image(IMAGE_DAYS + 2, b"old"), cleaned.image(3, b"young")
    again = cleaned.image(IMAGE_DAYS + 2, b"again")
    job = cleaned.job(IMAGE_DAYS + 2, image_uri=old)
    assert cleaned.storage.put(IMAGES, b"again") == again
    cleaned.clean()
    assert not cleaned.has_image(old)
    assert cleaned.has_image(young)
    assert cleaned.has_image(again)
    left = cleaned.read(job)
    assert left is not None
    assert left.designation == "Piscine gonflable"


def test_reviews_of_what_nobody_can_see_go_and_labelled_ones_stay(cleaned: Cleaned) -> None:
    asked = cleaned.job(JOB_DAYS + 1)
    answered = cleaned.job(JOB_DAYS + 1, label=10, labelled_at=now() - timedelta(days=80))
    cleaned.add(taken_in(now()))
    for job in (asked, answered):
        cleaned.add(Review(job_id=job.id, reason="random", chance=0.1, random_chance=0.1))
    cleaned.clean()
    with cleaned.unit_of_work.reading() as session:
        assert session.get(Review, asked.id) is None
        assert session.get(Review, answered.id) is not None


def catalog_of(cleaned: Cleaned, days: float, **changes: Any) -> Catalog:
    """Add a finished catalog with its files and one row that failed."""
    id_ = id_of(days)[:-8] + "0" * 8
    fields: dict[str, Any] = {
        "id": id_,
        "user_id": cleaned.user.id,
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
    cleaned.add(catalog)
    cleaned.storage.put_at(f"{CATALOGS}/{id_}/products", b"designation\nPiscine\n")
    cleaned.job(days, id=row_job_id(id_, 1), catalog_id=id_, status="failed", result=None)
    return catalog


def test_files_of_old_catalogs_go(cleaned: Cleaned) -> None:
    old, young = catalog_of(cleaned, JOB_DAYS + 1), catalog_of(cleaned, 1)
    running = catalog_of(cleaned, JOB_DAYS + 1, status="running")
    stray = id_of(JOB_DAYS + 1)
    cleaned.storage.put_at(f"{CATALOGS}/{stray}/products", b"")
    cleaned.clean()
    left = {uri.rpartition("/")[2] for uri in cleaned.storage.folders(CATALOGS)}
    assert left == {young.id, running.id}
    with cleaned.unit_of_work.reading() as session:
        assert session.get(Catalog, old.id) is not None


def test_old_catalogs_go_whole_where_results_are_not_kept(cleaned: Cleaned) -> None:
    old, young = catalog_of(cleaned, JOB_DAYS + 1), catalog_of(cleaned, 1)
    cleaned.clean(keep_results=False)
    with cleaned.unit_of_work.reading() as session:
        assert session.get(Catalog, old.id) is None
        assert session.get(Catalog, young.id) is not None


def test_rows_whose_products_are_gone_do_not_run_again(cleaned: Cleaned) -> None:
    catalog = catalog_of(cleaned, JOB_DAYS + 1)
    owner = Principal(cleaned.user.id, "ada", Role.CLIENT, session_id="s")
    cleaned.clean()
    with cleaned.unit_of_work() as work:
        assert failed_after(work.session, catalog.id, 0, 10) == []
        with pytest.raises(Conflict, match="have been deleted"):
            retry(work.session, owner, catalog.id)


def test_old_dead_letters_go(cleaned: Cleaned) -> None:
    for days in (JOB_DAYS + 1, 1):
        cleaned.add(
            DeadLetter(
                topic="score_text",
                payload={"days": days},
                fingerprint=str(days),
                error="x",
                deliveries=4,
                parked_at=now() - timedelta(days=days),
            )
        )
    cleaned.clean()
    with cleaned.unit_of_work.reading() as session:
        assert [one.payload for one in session.query(DeadLetter)] == [{"days": 1}]


def test_a_service_that_stops_ends_the_cleaning(cleaned: Cleaned) -> None:
    old = [cleaned.job(JOB_DAYS + 1) for _ in range(3)]
    settings = RetentionSettings(job_days=JOB_DAYS, batch=1, pause_seconds=0)
    retention = Retention(cleaned.unit_of_work, cleaned.storage, settings)
    retention.stopping.set()
    retention.clean()
    assert [job is not None and job.designation != "" for job in map(cleaned.read, old)] == [
        True
    ] * 3


def test_an_id_is_not_older_than_its_moment() -> None:
    moment = now()
    assert first_id_of(moment - timedelta(milliseconds=5)) < new_id()
    assert new_catalog_id() < first_id_of(now() + timedelta(milliseconds=5))
