"""Thumbnails are deleted with their image, when they are old, and when there are too many."""

import os
from collections.abc import Callable
from datetime import timedelta
from threading import Event

import pytest

from gateway.jobs.submission import IMAGES
from gateway.operations import thumbnails
from gateway.operations.orphans import LOOP
from gateway.operations.retention import Retention
from gateway.settings import RetentionSettings
from shared.contracts import THUMBNAIL_PIXELS, thumbnail_uri
from shared.db.models import Job, Role, User, now
from shared.skipping import Removals
from shared.storage import Storage
from tests.support.factories import make_job
from tests.unit.gateway.conftest import Api
from tests.unit.gateway.operations.test_orphans import LONG_AGO, aged, has, image


@pytest.fixture
def storage(api: Api) -> Storage:
    return api.services.storage


@pytest.fixture
def ada(api: Api) -> User:
    api.user(Role.ADMIN, username="root", **aged(LONG_AGO * 3))
    return api.user(username="ada")


@pytest.fixture
def clean(storage: Storage) -> Callable[[], int]:
    return lambda: thumbnails.clean_thumbnails(storage, IMAGES, Removals(LOOP), Event())


def small(storage: Storage, uri: str, age: timedelta = timedelta(), size: int = 1) -> list[str]:
    """Store all thumbnails of an image, `size` bytes each."""
    made = [thumbnail_uri(uri, pixels) for pixels in THUMBNAIL_PIXELS]
    for one in made:
        storage.put_at(one, b"s" * size)
        path = storage.local(one)
        assert path is not None
        moment = (now() - age).timestamp()
        os.utime(path, (moment, moment))
    return made


def test_retention_deletes_thumbnails_with_their_image(
    api: Api, storage: Storage, ada: User
) -> None:
    old, young = image(storage, b"old", LONG_AGO * 2), image(storage, b"young", timedelta(hours=1))
    for uri in (old, young):
        api.add(make_job(ada, **aged(LONG_AGO * 2), status="done", image_uri=uri))
    gone, kept = small(storage, old), small(storage, young)
    Retention(api.unit_of_work, storage, RetentionSettings(image_days=30)).clean()
    assert not any(has(storage, uri) for uri in (old, *gone))
    assert all(has(storage, uri) for uri in (young, *kept))


def test_image_without_a_job_goes_with_its_thumbnails(
    api: Api, storage: Storage, ada: User
) -> None:
    unused, used = image(storage, b"unused"), image(storage, b"used")
    api.add(make_job(ada, status="done", image_uri=used))
    gone, kept = small(storage, unused), small(storage, used)
    Retention(api.unit_of_work, storage, RetentionSettings()).clean()
    assert not any(has(storage, uri) for uri in (unused, *gone))
    assert all(has(storage, uri) for uri in (used, *kept))
    assert api.get(Job, "none") is None


def test_thumbnail_stored_after_its_image_was_deleted_goes(
    storage: Storage, clean: Callable[[], int]
) -> None:
    uri = image(storage, b"an image")
    made = small(storage, uri)
    assert clean() == 0
    storage.remove(uri)
    assert clean() == 3
    assert not any(has(storage, one) for one in made)


def test_old_thumbnails_go_and_their_image_stays(
    storage: Storage, clean: Callable[[], int]
) -> None:
    uri = image(storage, b"an image")
    made = small(storage, uri, thumbnails.KEPT + timedelta(days=1))
    assert clean() == 3
    assert not any(has(storage, one) for one in made)
    assert has(storage, uri)


def test_oldest_thumbnails_go_when_there_are_too_many(
    storage: Storage, clean: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "MOST_BYTES", 700)
    uris = [image(storage, b"image %d" % number) for number in range(3)]
    made = [
        small(storage, uri, timedelta(days=age), 100)
        for uri, age in zip(uris, (3, 1, 2), strict=True)
    ]
    assert clean() == 2
    assert [sum(has(storage, one) for one in three) for three in made] == [1, 3, 3]
