"""Files that are sent in pieces: order, loss, limits, owners, expiry, and the catalog of them."""

import asyncio
import tempfile
from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any

import httpx2
import pytest
from fastapi import Request

from gateway.api.importing import uploads
from gateway.catalogs.importing import partial_uploads
from gateway.operations.orphans import Orphans
from shared.db.models import new_id
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    archive,
    jobs_of,
    step_until_checked,
    table,
)
from tests.unit.gateway.conftest import Api

TABLE = table(["Pool", "", "a.jpg"], ["Book", "", ""])
ARCHIVE = archive(a=b"an image")


def announce(api: Api, headers: dict[str, str], size: int, name: str = "shop.csv") -> str:
    answer = api.client.post("/v1/uploads", headers=headers, json={"name": name, "size": size})
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert answer.headers["Location"] == f"/v1/uploads/{found['id']}"
    assert found["offset"] == 0
    return str(found["id"])


def patch(
    api: Api, headers: dict[str, str], upload_id: str, offset: int, piece: bytes
) -> httpx2.Response:
    more = {"Upload-Offset": str(offset), "Content-Type": "application/partial-upload"}
    return api.client.patch(f"/v1/uploads/{upload_id}", headers={**headers, **more}, content=piece)


def sent(api: Api, headers: dict[str, str], content: bytes, name: str = "shop.csv") -> str:
    """Send a file in pieces of ten bytes, and return the ID of its upload."""
    upload_id = announce(api, headers, len(content), name)
    for offset in range(0, len(content), 10):
        answer = patch(api, headers, upload_id, offset, content[offset : offset + 10])
        assert answer.status_code == 204, answer.text
        assert answer.headers["Upload-Offset"] == str(min(offset + 10, len(content)))
    return upload_id


def submit(api: Api, headers: dict[str, str], **fields: str) -> httpx2.Response:
    # Files of this form make it multipart.
    form: dict[str, Any] = {name: (None, value) for name, value in fields.items()}
    return api.client.post("/v1/catalogs", headers=headers, files=form)


def test_catalog_of_files_that_came_in_pieces(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    products, images = sent(api, mine, TABLE), sent(api, mine, ARCHIVE, "shop.zip")
    answer = submit(api, mine, products_upload=products, images_upload=images)
    assert answer.status_code == 202, answer.text
    assert answer.json()["name"] == "shop.csv"
    running, catalog_id = feeder(), answer.json()["id"]
    step_until_checked(api, running, catalog_id)
    running.step()
    jobs = jobs_of(api, catalog_id)
    assert [job.designation for job in jobs] == ["Pool", "Book"]
    assert jobs[0].image_uri is not None
    assert api.client.get(f"/v1/uploads/{products}", headers=mine).status_code == 404


def test_repeated_request_with_a_key_returns_the_same_catalog(
    api: Api, mine: dict[str, str]
) -> None:
    headers = {**mine, "Idempotency-Key": "once"}
    products = sent(api, mine, TABLE)
    first, again = (submit(api, headers, products_upload=products) for _ in range(2))
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])


def test_lost_piece_is_sent_again_from_the_offset(api: Api, mine: dict[str, str]) -> None:
    upload_id = announce(api, mine, 30)
    patch(api, mine, upload_id, 0, b"a" * 10)
    late = patch(api, mine, upload_id, 20, b"c" * 10)
    assert (late.status_code, late.json()["detail"]) == (
        409,
        "Expected the offset 10. Received: 20",
    )
    again = patch(api, mine, upload_id, 0, b"a" * 10)
    assert again.status_code == 409
    assert api.client.get(f"/v1/uploads/{upload_id}", headers=mine).json()["offset"] == 10


def test_piece_that_two_requests_stored_is_read_once(api: Api, mine: dict[str, str]) -> None:
    upload_id = announce(api, mine, 20)
    patch(api, mine, upload_id, 0, b"a" * 10)
    storage = api.services.storage
    (user,) = storage.folders("parts")
    storage.put_at(f"{user}/{upload_id}/{0:016d}-{new_id()}", b"a" * 10)
    assert patch(api, mine, upload_id, 10, b"b" * 10).headers["Upload-Offset"] == "20"


def test_incomplete_upload_is_no_catalog(api: Api, mine: dict[str, str]) -> None:
    upload_id = announce(api, mine, 100)
    patch(api, mine, upload_id, 0, TABLE[:10])
    answer = submit(api, mine, products_upload=upload_id)
    assert answer.status_code == 409
    assert api.client.get(f"/v1/uploads/{upload_id}", headers=mine).json()["offset"] == 10


def test_upload_that_is_no_table_is_kept(api: Api, mine: dict[str, str]) -> None:
    upload_id = sent(api, mine, b"%PDF-1.7 nothing")
    answer = submit(api, mine, products_upload=upload_id)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "products")
    assert api.client.get(f"/v1/uploads/{upload_id}", headers=mine).status_code == 200


def test_more_than_announced_is_refused(api: Api, mine: dict[str, str]) -> None:
    upload_id = announce(api, mine, 5)
    assert patch(api, mine, upload_id, 0, b"abcdef").status_code == 422


@pytest.mark.parametrize(("offset", "status"), [(0, 422), (2, 409)])
def test_piece_that_does_not_fit_is_refused_before_it_is_read(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch, offset: int, status: int
) -> None:
    upload_id = announce(api, mine, 5)
    monkeypatch.setattr(uploads, "_read", None)
    assert patch(api, mine, upload_id, offset, b"abcdef").status_code == status


def test_piece_of_unknown_size_is_read_up_to_the_announced_size() -> None:
    left = iter([b"abcd"] * 10)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": next(left), "more_body": True}

    with tempfile.TemporaryFile() as piece:
        asyncio.run(uploads._read(Request({"type": "http"}, receive), piece, 5))
        assert piece.tell() == 8
    assert len([*left]) == 8


@pytest.mark.parametrize(("size", "status"), [(0, 422), (-1, 422), (300_001, 413), (300_000, 201)])
def test_size_of_a_file_is_limited_as_a_direct_upload(
    api: Api, mine: dict[str, str], size: int, status: int
) -> None:
    body = {"name": "shop.csv", "size": size}
    assert api.client.post("/v1/uploads", headers=mine, json=body).status_code == status


def test_uploads_at_once_are_limited(api: Api, mine: dict[str, str]) -> None:
    for _ in range(partial_uploads.MOST_FILES):
        announce(api, mine, 5)
    body = {"name": "shop.csv", "size": 5}
    assert api.client.post("/v1/uploads", headers=mine, json=body).status_code == 429


def test_announced_bytes_of_a_user_are_limited_together(api: Api, mine: dict[str, str]) -> None:
    announce(api, mine, 300_000)
    body = {"name": "shop.zip", "size": 200_001}
    assert api.client.post("/v1/uploads", headers=mine, json=body).status_code == 429
    announce(api, api.sign(api.user()), 300_000)
    announce(api, mine, 200_000)


@pytest.mark.parametrize("upload_id", ["theirs", "no-uuid", "0193f0c2-7a3e-7c1a-9f62-2b8d6f0a4e11"])
def test_upload_of_somebody_else_is_not_found(
    api: Api, mine: dict[str, str], upload_id: str
) -> None:
    if upload_id == "theirs":
        upload_id = sent(api, api.sign(api.user()), TABLE)
    address = f"/v1/uploads/{upload_id}"
    assert api.client.get(address, headers=mine).status_code == 404
    assert api.client.delete(address, headers=mine).status_code == 404
    assert patch(api, mine, upload_id, 0, b"x").status_code == 404
    assert submit(api, mine, products_upload=upload_id).status_code == 404


@pytest.mark.parametrize("spell", [str.upper, "{{{}}}".format, lambda one: one.replace("-", "")])
def test_other_spelling_of_an_id_names_the_same_upload(
    api: Api, mine: dict[str, str], spell: Callable[[str], str]
) -> None:
    upload_id = announce(api, mine, 20)
    assert patch(api, mine, spell(upload_id), 0, b"a" * 10).status_code == 204
    assert patch(api, mine, spell(upload_id), 0, b"a" * 10).status_code == 409
    assert api.client.get(f"/v1/uploads/{upload_id}", headers=mine).json()["offset"] == 10
    assert api.client.delete(f"/v1/uploads/{spell(upload_id)}", headers=mine).status_code == 204
    assert api.client.get(f"/v1/uploads/{upload_id}", headers=mine).status_code == 404


def test_piece_left_of_a_deleted_upload_stops_no_other(api: Api, mine: dict[str, str]) -> None:
    upload_id = announce(api, mine, 20)
    storage = api.services.storage
    (user,) = storage.folders("parts")
    storage.put_at(f"{user}/{new_id()}/{0:016d}-{new_id()}", b"a" * 10)
    assert announce(api, mine, 20) != upload_id


def test_deleted_upload_is_gone(api: Api, mine: dict[str, str]) -> None:
    upload_id = sent(api, mine, TABLE)
    assert api.client.delete(f"/v1/uploads/{upload_id}", headers=mine).status_code == 204
    assert api.services.storage.folders("parts") == [] or not any(
        api.services.storage.folders(user) for user in api.services.storage.folders("parts")
    )


def test_upload_that_no_catalog_took_is_deleted_in_time(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = sent(api, mine, TABLE)
    orphans = Orphans(api.unit_of_work, api.services.storage, Event())
    orphans.clean()
    assert api.client.get(f"/v1/uploads/{upload_id}", headers=mine).status_code == 200
    monkeypatch.setattr(partial_uploads, "KEPT", timedelta(seconds=-1))
    assert orphans.clean()["unused_parts"] == 1
    assert api.client.get(f"/v1/uploads/{upload_id}", headers=mine).status_code == 404
