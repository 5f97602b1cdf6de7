"""Image of a product's page: a thumbnail, or the uploaded image where none can be made."""

import pytest

from gateway.jobs import thumbnails
from gateway.jobs.submission import IMAGES
from shared.contracts import thumbnail_uri
from shared.db.models import Job
from tests.support.factories import make_job
from tests.unit.gateway.console.conftest import Browser

ORIGINAL, THUMBNAIL = b"\xff\xd8\xff an image", b"RIFF\0\0\0\0WEBP small"


@pytest.fixture
def job(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(thumbnails, "PATIENCE_SECONDS", 0.05)
    one = make_job(browser.user, image_uri=browser.api.services.storage.put(IMAGES, ORIGINAL))
    browser.api.add(one)
    return one


def store(browser: Browser, job: Job, pixels: int, content: bytes) -> None:
    assert job.image_uri is not None
    browser.api.services.storage.put_at(thumbnail_uri(job.image_uri, pixels), content)


def test_page_of_a_product_loads_a_thumbnail(browser: Browser, job: Job) -> None:
    store(browser, job, 640, THUMBNAIL)
    address = f"/console/jobs/{job.id}/image?size=640"
    assert f'src="{address}"' in browser.get(f"/console/jobs/{job.id}").text
    answer = browser.get(address)
    assert (answer.content, answer.headers["content-type"]) == (THUMBNAIL, "image/webp")


@pytest.mark.parametrize("stored", [None, b""], ids=["no worker", "unreadable"])
def test_image_of_a_product_is_shown_as_uploaded_without_a_thumbnail(
    browser: Browser, job: Job, stored: bytes | None
) -> None:
    if stored is not None:
        store(browser, job, 640, stored)
    answer = browser.get(f"/console/jobs/{job.id}/image?size=640")
    assert (answer.status_code, answer.content) == (200, ORIGINAL)


def test_list_never_loads_uploaded_images(browser: Browser, job: Job) -> None:
    assert browser.get(f"/console/jobs/{job.id}/image?size=96").status_code == 503
    store(browser, job, 96, b"")
    assert browser.get(f"/console/jobs/{job.id}/image?size=96").status_code == 404


def test_deleted_image_is_not_found(browser: Browser, job: Job) -> None:
    browser.api.services.storage.remove(job.image_uri or "")
    assert browser.get(f"/console/jobs/{job.id}/image?size=640").status_code == 404
