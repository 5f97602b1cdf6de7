"""Files that nothing refers to are deleted; those that anybody needs are kept."""

import errno
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import delete, update
from structlog.testing import capture_logs

from gateway.catalogs.service import CATALOGS, folder_of
from gateway.catalogs.service import IMAGES as ARCHIVE
from gateway.jobs.submission import IMAGES
from gateway.operations.orphans import ABANDONED, UNUSED, Orphans
from shared.db.datasets import UPLOADS
from shared.db.models import (
    Catalog,
    CatalogRowRepair,
    DatasetVersion,
    Job,
    Role,
    User,
    first_id_of,
    new_catalog_id,
    new_id,
    now,
)
from shared.errors import NotFound, Unavailable
from shared.settings import StorageSettings
from shared.storage import Storage
from tests.support.factories import make_catalog, make_job
from tests.unit.gateway.catalogs.catalog_system import archive, send, table
from tests.unit.gateway.conftest import Api

LONG_AGO = timedelta(days=30)


@pytest.fixture
def storage(api: Api) -> Storage:
    return api.services.storage


@pytest.fixture
def ada(api: Api) -> User:
    # The first account is older than all files.
    api.user(Role.ADMIN, username="root", **aged(LONG_AGO * 2))
    return api.user(username="ada")


@pytest.fixture
def clean(api: Api, storage: Storage) -> Callable[[], dict[str, int]]:
    return Orphans(api.unit_of_work, storage, Event()).clean


def aged(age: timedelta) -> dict[str, object]:
    """Return the ID and the time of a row of some age."""
    moment = now() - age
    return {"id": first_id_of(moment)[:13] + new_id()[13:], "created_at": moment}


def image(storage: Storage, content: bytes, age: timedelta = LONG_AGO) -> str:
    """Store an image some time ago."""
    uri = storage.put(IMAGES, content)
    path = storage.local(uri)
    assert path is not None
    moment = (now() - age).timestamp()
    os.utime(path, (moment, moment))
    return uri


def has(storage: Storage, uri: str) -> bool:
    try:
        return bool(storage.get(uri))
    except NotFound:
        return False


@pytest.mark.parametrize("status", ["queued", "done", "failed"])
def test_image_of_a_job_is_kept(
    api: Api, storage: Storage, ada: User, clean: Callable[[], dict[str, int]], status: str
) -> None:
    uri = image(storage, b"an image")
    api.add(make_job(ada, status=status, image_uri=uri))
    assert clean()["unused_images"] == 0
    assert has(storage, uri)


def test_image_of_cancelled_jobs_is_deleted(
    api: Api, storage: Storage, ada: User, clean: Callable[[], dict[str, int]]
) -> None:
    uri, labelled = image(storage, b"an image"), image(storage, b"labelled")
    api.add(make_job(ada, status="cancelled", image_uri=uri))
    api.add(make_job(ada, status="cancelled", image_uri=labelled, label=10, labelled_at=now()))
    assert clean()["unused_images"] == 1
    assert not has(storage, uri)
    assert has(storage, labelled)


def test_image_that_another_user_sent_too_is_kept(
    api: Api, storage: Storage, ada: User, clean: Callable[[], dict[str, int]]
) -> None:
    shared, own = image(storage, b"shared"), image(storage, b"own")
    eve = api.user(username="eve")
    for uri in (shared, own):
        api.add(make_job(eve, status="done", image_uri=uri))
    api.add(make_job(ada, status="done", image_uri=shared))
    root = api.sign(api.user(Role.ADMIN))
    assert api.client.delete("/v1/users/eve", headers=root).status_code == 204
    assert clean()["unused_images"] == 1
    assert (has(storage, shared), has(storage, own)) == (True, False)


def test_image_that_may_be_in_use_is_kept(
    api: Api, storage: Storage, ada: User, clean: Callable[[], dict[str, int]]
) -> None:
    # A job that is submitted now relies on the stored file, and its row is not committed yet.
    uri = image(storage, b"an image", UNUSED - timedelta(minutes=1))
    clean()
    assert has(storage, uri)
    path = storage.local(uri)
    assert path is not None
    moment = (now() - UNUSED - timedelta(minutes=1)).timestamp()
    os.utime(path, (moment, moment))
    clean()
    assert not has(storage, uri)


def test_images_from_before_the_first_account_are_kept(
    api: Api, storage: Storage, clean: Callable[[], dict[str, int]]
) -> None:
    uri = image(storage, b"an image")
    assert clean()["unused_images"] == 0
    api.user(username="first")
    assert clean()["unused_images"] == 0
    assert has(storage, uri)


def test_files_of_a_deleted_account_are_deleted(
    api: Api, storage: Storage, ada: User, clean: Callable[[], dict[str, int]]
) -> None:
    hers, theirs = (folder_at(storage, now() - ABANDONED * 2) for _ in range(2))
    for id_, owner in ((hers, ada), (theirs, api.user())):
        api.add(catalog_of(owner, id_))
    clean()
    assert len(storage.folders(CATALOGS)) == 2
    root = api.sign(api.user(Role.ADMIN))
    assert api.client.delete("/v1/users/ada", headers=root).status_code == 204
    assert clean()["unused_catalogs"] == 1
    assert storage.folders(CATALOGS) == [folder_of(theirs)]


def test_files_of_an_upload_in_progress_are_kept(
    storage: Storage, ada: User, clean: Callable[[], dict[str, int]]
) -> None:
    young = folder_at(storage, now() - ABANDONED / 2)
    folder_at(storage, now() - ABANDONED * 2)
    assert clean()["unused_catalogs"] == 1
    assert storage.folders(CATALOGS) == [folder_of(young)]


def catalog_of(owner: User, id_: str) -> Catalog:
    return Catalog(
        id=id_,
        user_id=owner.id,
        trace_id="0" * 32,
        name="shop.csv",
        model="text",
        release="1",
        dry_run=False,
        fingerprint=id_,
        size=1,
        has_images=False,
        status="finished",
    )


def folder_at(storage: Storage, moment: datetime) -> str:
    """Store the files of a catalog without a row, and return its ID."""
    id_ = first_id_of(moment)[:13] + new_catalog_id()[13:]
    storage.put_at(f"{folder_of(id_)}/products", b"designation\nA\n")
    return id_


def test_archive_of_a_cancelled_catalog_is_deleted(
    api: Api, storage: Storage, ada: User, clean: Callable[[], dict[str, int]]
) -> None:
    hers = api.sign(ada)
    catalogs = [send(api, hers, table(["A", "", "a.jpg"]), archive(a=b"x"))["id"] for _ in "ab"]
    uris = [f"{folder_of(id_)}/images.zip" for id_ in catalogs]
    assert api.client.delete(f"/v1/catalogs/{catalogs[0]}", headers=hers).status_code == 200
    assert [has(storage, uri) for uri in uris] == [False, True]
    # The file was not deleted when the catalog ended, because the storage did not answer.
    with api.unit_of_work() as work:
        ended = {"status": "cancelled", "finished_at": now()}
        work.session.execute(update(Catalog).where(Catalog.id == catalogs[1]).values(**ended))
    clean()
    assert not has(storage, uris[1])
    assert has(storage, f"{folder_of(catalogs[1])}/products")


def test_abandoned_uploads_of_datasets_are_deleted(
    api: Api, storage: Storage, ada: User, clean: Callable[[], dict[str, int]]
) -> None:
    def version(number: int, age: timedelta, status: str) -> str:
        row = DatasetVersion(
            name="shop", version=number, status=status, created_by="ada", asked={}, **aged(age)
        )
        api.add(row)
        storage.put_at(f"uploads/{row.id}/products.csv", b"x")
        return row.id

    checking = version(1, ABANDONED * 2, "checking")
    version(2, ABANDONED * 2, "failed")
    young = version(3, ABANDONED / 2, "failed")
    assert clean()["unused_uploads"] == 1
    assert sorted(storage.folders("uploads")) == sorted(
        f"uploads/{id_}" for id_ in (checking, young)
    )


def test_stopping_service_ends_the_clean_up(api: Api, storage: Storage, ada: User) -> None:
    uri = image(storage, b"an image")
    stopping = Event()
    stopping.set()
    assert Orphans(api.unit_of_work, storage, stopping).clean()["unused_images"] == 0
    assert has(storage, uri)
    assert api.get(Job, "none") is None


class Refusing(Storage):
    """Storage in which one file or folder cannot be removed."""

    bad = ""

    def remove(self, uri: str) -> None:
        """Remove a file."""
        self._refuse(uri)
        super().remove(uri)

    def remove_older(self, uri: str, moment: datetime) -> bool:
        """Remove an old file."""
        self._refuse(uri)
        return super().remove_older(uri, moment)

    def remove_folder(self, uri: str) -> None:
        """Remove a folder."""
        self._refuse(uri)
        super().remove_folder(uri)

    def _refuse(self, uri: str) -> None:
        if uri == self.bad:
            raise Unavailable("The storage does not answer") from PermissionError(
                errno.EACCES, "Permission denied", uri
            )


@pytest.fixture
def refusing(api: Api, tmp_path: Path) -> Refusing:
    return Refusing(StorageSettings(url=str(tmp_path / "files")))


def cleaned(api: Api, refusing: Refusing, bad: str) -> dict[str, int]:
    """Clean with a file that cannot be removed, and check that its skipping is recorded."""
    refusing.bad = bad
    loop = {"loop": "retention"}
    before = REGISTRY.get_sample_value("rayon_rows_skipped_total", loop) or 0.0
    with capture_logs() as events:
        counts = Orphans(api.unit_of_work, refusing, Event()).clean()
    (named,) = [event["row"] for event in events if event["event"] == "row_skipped"]
    assert bad.partition("/images")[0].rpartition("/")[2] in named
    assert REGISTRY.get_sample_value("rayon_rows_skipped_total", loop) == before + 1
    return counts


@pytest.mark.usefixtures("ada")
def test_image_that_cannot_be_removed_stops_no_other(api: Api, refusing: Refusing) -> None:
    uris = sorted(image(refusing, content) for content in (b"first", b"second", b"third"))
    assert cleaned(api, refusing, uris[1])["unused_images"] == 2
    assert [has(refusing, uri) for uri in uris] == [False, True, False]


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("parent", [CATALOGS, UPLOADS])
def test_folder_that_cannot_be_removed_stops_no_other(
    api: Api, refusing: Refusing, parent: str
) -> None:
    ids = sorted(first_id_of(now() - ABANDONED * 2)[:13] + new_id()[13:] for _ in range(3))
    for id_ in ids:
        refusing.put_at(f"{parent}/{id_}/products", b"designation")
    cleaned(api, refusing, f"{parent}/{ids[0]}")
    assert refusing.folders(parent) == [f"{parent}/{ids[0]}"]


def test_archive_that_cannot_be_removed_stops_no_other(
    api: Api, refusing: Refusing, ada: User
) -> None:
    ids = [new_catalog_id() for _ in range(3)]
    for id_ in ids:
        ended = {"status": "finished", "has_images": True, "finished_at": now()}
        api.add(make_catalog(ada, id=id_, **ended))
        refusing.put_at(f"{folder_of(id_)}/{ARCHIVE}", b"zip")
    cleaned(api, refusing, f"{folder_of(ids[1])}/{ARCHIVE}")
    assert [has(refusing, f"{folder_of(id_)}/{ARCHIVE}") for id_ in ids] == [False, True, False]


def test_image_of_a_repaired_row_is_kept_with_its_repair(
    api: Api, storage: Storage, ada: User, clean: Callable[[], dict[str, int]]
) -> None:
    catalog, uri = make_catalog(ada), image(storage, b"of a row")
    api.add(catalog)
    api.add(CatalogRowRepair(catalog_id=catalog.id, row=1, image_uri=uri, image_bytes=8))
    assert clean()["unused_images"] == 0
    assert has(storage, uri)
    with api.unit_of_work() as work:
        work.session.execute(delete(CatalogRowRepair))
    assert clean()["unused_images"] == 1
    assert not has(storage, uri)
