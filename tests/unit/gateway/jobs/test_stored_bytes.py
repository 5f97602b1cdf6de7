"""The bytes of a user in the storage are limited, and each image of a user counts once."""

from typing import Any

import pytest
from sqlalchemy import update

from gateway.jobs import quotas
from gateway.jobs.stored_bytes import stored_bytes
from gateway.settings import RateSettings
from shared.db.models import Catalog, DatasetVersion, Job, Role, User
from shared.errors import Limited
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    answer_all,
    archive,
    send,
    step_until_checked,
    table,
)
from tests.unit.gateway.conftest import Api

IMAGE = b"i" * 1_000


@pytest.fixture
def rate_settings() -> RateSettings:
    return RateSettings(stored_bytes=10_000)


@pytest.fixture(autouse=True)
def _counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count at each request instead of every half minute."""
    monkeypatch.setattr(quotas, "STORED_FRESH_SECONDS", 0)


@pytest.fixture
def ada(api: Api) -> User:
    return api.user(Role.OPERATOR, username="ada")


@pytest.fixture
def hers(api: Api, ada: User) -> dict[str, str]:
    return api.sign(ada)


def stored(api: Api, user: User) -> int:
    with api.unit_of_work.reading() as session:
        return stored_bytes(session, user.id)


def submit(api: Api, headers: dict[str, str], image: bytes) -> Any:
    return api.client.post("/v1/jobs", headers=headers, files={"image": ("a.jpg", image)})


def test_images_catalogs_and_datasets_count(api: Api, ada: User, hers: dict[str, str]) -> None:
    assert stored(api, ada) == 0
    assert submit(api, hers, IMAGE).status_code == 202
    assert stored(api, ada) == 1_000
    rows = table(["A", "", ""])
    send(api, hers, rows)
    assert stored(api, ada) == 1_000 + len(rows)
    files = {"products": ("p.csv", b"designation,category\n" + b"x" * 477 + b",a")}
    answer = api.client.post("/v1/datasets", headers=hers, files=files, data={"name": "shop"})
    assert answer.status_code == 202, answer.text
    assert stored(api, ada) == 1_500 + len(rows)
    assert stored(api, api.user()) == 0


def test_equal_images_of_a_user_count_once(api: Api, ada: User, hers: dict[str, str]) -> None:
    other = api.user()
    for headers in (hers, hers, api.sign(other)):
        assert submit(api, headers, IMAGE).status_code == 202
    assert submit(api, hers, b"j" * 10).status_code == 202
    assert (stored(api, ada), stored(api, other)) == (1_010, 1_000)


def test_archive_counts_until_the_catalog_is_final_and_its_images_from_then_on(
    api: Api, ada: User, hers: dict[str, str], feeder: Feeders
) -> None:
    rows, images = table(["A", "", "a.jpg"], ["B", "", "a.jpg"]), archive(a=IMAGE)
    catalog = send(api, hers, rows, images)
    assert stored(api, ada) == len(rows) + len(images)
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    answer_all(api, catalog["id"])
    running.step()
    assert stored(api, ada) == len(rows) + len(IMAGE)


@pytest.mark.parametrize("what", ["image", "catalog", "dataset"])
def test_upload_beyond_the_quota_is_429(
    api: Api, ada: User, hers: dict[str, str], what: str
) -> None:
    for number in range(9):
        assert submit(api, hers, bytes([number]) * 1_000).status_code == 202
    content = b"designation,category\n" + b"x" * 989 + b",a"
    path, files, data = {
        "image": ("/v1/jobs", {"image": ("a.jpg", content)}, {}),
        "catalog": ("/v1/catalogs", {"products": ("p.csv", content)}, {}),
        "dataset": ("/v1/datasets", {"products": ("p.csv", content)}, {"name": "shop"}),
    }[what]
    answer = api.client.post(path, headers=hers, files=files, data=data)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3600"), answer.text
    assert answer.json()["detail"].startswith("Expected at most 10000 stored bytes. Received: 1")
    assert "more than the 9000" in answer.json()["detail"]
    assert stored(api, ada) == 9_000
    # Others, and products without an image, are not concerned.
    text = api.client.post("/v1/jobs", headers=hers, data={"designation": "A"})
    other = api.client.post(path, headers=api.sign(api.user(Role.OPERATOR)), files=files, data=data)
    assert (text.status_code, other.status_code) == (202, 202)


def test_cancelled_jobs_do_not_count(
    api: Api, ada: User, hers: dict[str, str], feeder: Feeders
) -> None:
    job = submit(api, hers, IMAGE).json()
    catalog = send(api, hers, table(["A", "", "a.jpg"]), archive(a=b"j" * 500))
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    api.client.delete(f"/v1/jobs/{job['id']}", headers=hers)
    api.client.delete(f"/v1/catalogs/{catalog['id']}", headers=hers)
    kept = api.get(Catalog, catalog["id"])
    assert kept is not None
    assert stored(api, ada) == kept.size - (kept.archive_bytes or 0)


def test_accepted_uploads_count_before_they_are_counted_again(
    api: Api, ada: User, hers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "STORED_FRESH_SECONDS", 30)
    limited = quotas.Quotas(api.services.rates, RateSettings(stored_bytes=10), api.unit_of_work)
    principal = api.services.sessions.principal(hers["Authorization"].partition(" ")[2])
    limited.require_bytes(principal, 6)
    with pytest.raises(Limited):
        limited.require_bytes(principal, 6)
    limited.require_bytes(principal, 4)


def test_rows_of_earlier_versions_do_not_count(api: Api, ada: User, hers: dict[str, str]) -> None:
    submit(api, hers, IMAGE)
    with api.unit_of_work() as work:
        work.session.execute(update(Job).values(image_bytes=None))
        asked: dict[str, Any] = {"base": None, "files": [], "remove": [], "corrected": True}
        work.session.add(DatasetVersion(name="old", version=1, created_by="ada", asked=asked))
    assert stored(api, ada) == 0
