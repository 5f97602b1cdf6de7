from pathlib import Path

import pytest

from shared.contracts import ImageItem, Lane, MakeThumbnails, thumbnail_uri
from shared.errors import Unavailable
from shared.settings import StorageSettings
from shared.storage import Storage
from tests.unit.worker_image.test_image_worker import DecodersHere, png
from worker_image.thumbnails import ThumbnailHandler


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(StorageSettings(url=str(tmp_path)))


def make(storage: Storage, *uris: str, decoders: DecodersHere | None = None) -> None:
    items = tuple(ImageItem(job_id=f"job-{i}", uri=uri) for i, uri in enumerate(uris))
    message = MakeThumbnails(
        trace_id="a" * 32, lane=Lane.INTERACTIVE, items=items, pixels=96, user_id="ada"
    )
    ThumbnailHandler(storage, decoders or DecodersHere()).make_thumbnails(message)


def test_thumbnails_are_stored_as_webp(storage: Storage) -> None:
    uris = [storage.put("images", png(level)) for level in (10, 200)]
    make(storage, *uris)
    for uri in uris:
        assert storage.get(thumbnail_uri(uri, 96))[8:12] == b"WEBP"


def test_thumbnail_that_is_there_is_not_made_again(storage: Storage) -> None:
    uri, decoders = storage.put("images", png(10)), DecodersHere()
    make(storage, uri, uri, decoders=decoders)
    make(storage, uri, decoders=decoders)
    assert decoders.asked == [(png(10), "ada")]


def test_unreadable_image_gets_an_empty_thumbnail(storage: Storage) -> None:
    broken, sound = storage.put("images", b"no image"), storage.put("images", png(10))
    make(storage, broken, sound)
    assert storage.get(thumbnail_uri(broken, 96)) == b""
    assert storage.has(thumbnail_uri(sound, 96))


def test_deleted_image_gets_none(storage: Storage) -> None:
    uri = storage.put("images", png(10))
    storage.remove(uri)
    make(storage, uri)
    assert not storage.has(thumbnail_uri(uri, 96))


def test_storage_that_is_down_is_no_fault_of_the_image(storage: Storage, tmp_path: Path) -> None:
    uri = storage.put("images", png(10))
    (tmp_path / "thumbnails").write_bytes(b"in the way of the folder")
    with pytest.raises(Unavailable):
        make(storage, uri)
