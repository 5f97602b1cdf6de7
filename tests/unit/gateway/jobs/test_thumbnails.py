"""Thumbnails: who gets them, when they are made, and what happens if they cannot be made."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from gateway.jobs import thumbnails
from gateway.jobs.submission import IMAGES
from shared.contracts import MakeThumbnails, Message, thumbnail_uri
from shared.db.models import Job, User
from shared.storage import Storage
from tests.support.factories import make_job
from tests.support.servers import until
from tests.unit.gateway.conftest import Api

SMALL = b"RIFF\0\0\0\0WEBP small"


@pytest.fixture
def storage(api: Api) -> Storage:
    return api.services.storage


@pytest.fixture
def ada(api: Api) -> User:
    return api.user(username="ada")


@pytest.fixture
def hers(api: Api, ada: User) -> dict[str, str]:
    return api.sign(ada)


@pytest.fixture
def job(api: Api, storage: Storage, ada: User) -> Job:
    one = make_job(ada, image_uri=storage.put(IMAGES, b"\xff\xd8\xff an image"))
    api.add(one)
    return one


def work(api: Api, content: bytes = SMALL) -> Callable[[Message], None]:
    """Answer requests for thumbnails as an image worker does."""
    publish = api.broker.publish

    def answer(message: Message) -> None:
        publish(message)
        assert isinstance(message, MakeThumbnails)
        for item in message.items:
            uri = thumbnail_uri(item.uri, message.pixels)
            api.services.storage.put_at(uri, content)

    return answer


def address(job: Job, size: int | None = 96) -> str:
    return f"/v1/jobs/{job.id}/image" + ("" if size is None else f"?size={size}")


def test_thumbnail_is_made_once(
    api: Api, job: Job, hers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.broker, "publish", work(api))
    for _ in range(3):
        answer = api.client.get(address(job), headers=hers)
        assert (answer.status_code, answer.content) == (200, SMALL)
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["cache-control"] == "private, max-age=604800, immutable"
    (message,) = api.broker.messages
    assert isinstance(message, MakeThumbnails)
    assert (message.queue, message.pixels, message.user_id) == (
        "image.interactive",
        96,
        job.user_id,
    )
    assert [item.uri for item in message.items] == [job.image_uri]


@pytest.mark.parametrize("size", [96, 320, 640, None])
def test_image_that_the_browser_has_is_not_sent_again(
    api: Api,
    job: Job,
    hers: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    size: int | None,
) -> None:
    monkeypatch.setattr(api.broker, "publish", work(api))
    etag = api.client.get(address(job, size), headers=hers).headers["etag"]
    again = api.client.get(address(job, size), headers={**hers, "If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = api.client.get(address(job, size), headers={**hers, "If-None-Match": '"other"'})
    assert other.status_code == 200


def test_sizes_have_different_tags(
    api: Api, job: Job, hers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.broker, "publish", work(api))
    tags = {
        api.client.get(address(job, size), headers=hers).headers["etag"]
        for size in (96, 320, 640, None)
    }
    assert len(tags) == 4


def test_thumbnail_of_another_user_is_404(
    api: Api, job: Job, mine: dict[str, str], hers: dict[str, str], admin: dict[str, str]
) -> None:
    api.services.storage.put_at(thumbnail_uri(job.image_uri or "", 96), SMALL)
    tag = api.client.get(address(job), headers=hers).headers["etag"]
    for headers in (mine, {**mine, "If-None-Match": tag}):
        assert api.client.get(address(job), headers=headers).status_code == 404
    assert api.client.get(address(job), headers=admin).status_code == 200


@pytest.mark.parametrize("size", ["97", "0", "-96", "x", ""])
def test_other_sizes_are_refused(api: Api, job: Job, hers: dict[str, str], size: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job.id}/image?size={size}", headers=hers)
    assert answer.status_code == 422
    assert api.broker.messages == []


def test_deleted_image_is_404_at_once(
    api: Api, job: Job, storage: Storage, hers: dict[str, str], ada: User
) -> None:
    storage.remove(job.image_uri or "")
    answer = api.client.get(address(job), headers=hers)
    assert answer.status_code == 404
    assert "deleted" in answer.json()["detail"]
    cleared = make_job(ada)
    api.add(cleared)
    assert "deleted" in api.client.get(address(cleared), headers=hers).json()["detail"]
    assert api.broker.messages == []


def test_unreadable_image_is_404(
    api: Api, job: Job, hers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.broker, "publish", work(api, b""))
    answer = api.client.get(address(job), headers=hers)
    assert answer.status_code == 404
    assert "cannot be read" in answer.json()["detail"]


def test_thumbnail_that_no_worker_makes_is_503(
    api: Api, job: Job, hers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "PATIENCE_SECONDS", 0.05)
    answer = api.client.get(address(job), headers=hers)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    api.broker.is_down = True
    assert api.client.get(address(job), headers=hers).status_code == 503


def test_requests_of_one_thumbnail_share_a_message(
    api: Api, job: Job, hers: dict[str, str]
) -> None:
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(api.client.get, address(job), headers=hers) for _ in range(3)]
        until(lambda: _waiting(api) == 3, 10, "three requests wait")
        api.services.storage.put_at(thumbnail_uri(job.image_uri or "", 96), SMALL)
        assert [one.result().content for one in asked] == [SMALL] * 3
    assert len(api.broker.messages) == 1
    assert _waiting(api) == 0


@pytest.mark.parametrize(("limit", "status"), [("WAITING_OF_USER", 429), ("WAITING_OF_ALL", 503)])
def test_flood_of_requests_is_refused(
    api: Api,
    job: Job,
    hers: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    status: int,
) -> None:
    monkeypatch.setattr(thumbnails, limit, 1)
    ended = Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.client.get, address(job), headers=hers)
        first.add_done_callback(lambda _: ended.set())
        until(lambda: _waiting(api) == 1, 10, "a request waits")
        refused = api.client.get(address(job, 320), headers=hers)
        assert (refused.status_code, refused.headers["retry-after"]) == (status, "2")
        assert not ended.is_set()
        # A thumbnail that is stored already is returned at once.
        api.services.storage.put_at(thumbnail_uri(job.image_uri or "", 640), SMALL)
        assert api.client.get(address(job, 640), headers=hers).status_code == 200
        api.services.storage.put_at(thumbnail_uri(job.image_uri or "", 96), SMALL)
        assert first.result().status_code == 200


def _waiting(api: Api) -> int:
    return api.services.thumbnails.waiting
