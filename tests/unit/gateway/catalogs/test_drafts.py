"""Drafts: an upload is sent once, looked at, checked with other columns, and started."""

from datetime import timedelta
from threading import Event
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from gateway.catalogs.importing import drafts
from gateway.identity.principal import Principal
from gateway.jobs.stored_bytes import stored_bytes
from gateway.operations.orphans import Orphans
from shared.db.models import Catalog, Role, User, now
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    archive,
    jobs_of,
    send,
    show,
    step_until_checked,
    table,
    texts_sent,
)
from tests.unit.gateway.conftest import Api

FOREIGN = table(
    *((f"title {number}", f"words {number}", f"{number}.jpg") for number in range(1, 8)),
    header="Col A,Col B,Col C",
)
MAPPED = {"designation": "Col A", "description": "Col B", "image": "Col C"}
HEADER = "designation,description,image,sku"
KNOWN = table(["Pool", "", "a.jpg", "1"], ["Book", "", "", "2"], ["", "", "", "3"], header=HEADER)
ARCHIVE = archive(a=b"an image", b=b"another")


def call(
    api: Api, headers: dict[str, str], catalog_id: str, what: str, body: Any = None
) -> httpx2.Response:
    address = f"/v1/catalogs/{catalog_id}/{what}"
    if what == "sample":
        return api.client.get(address, headers=headers)
    return api.client.post(address, headers=headers, json=body)


def draft(
    api: Api,
    headers: dict[str, str],
    feeders: Feeders,
    products: bytes,
    images: bytes | None = None,
    release: str = "champion",
) -> str:
    """Upload a draft, wait for its check, and return its ID."""
    catalog = send(api, headers, products, images, draft="true", release=release)
    step_until_checked(api, feeders(), catalog["id"])
    return str(catalog["id"])


def in_storage(api: Api, catalog_id: str) -> set[str]:
    folder = f"catalogs/{catalog_id}"
    return {file.uri.rpartition("/")[2] for file in api.services.storage.files(folder)}


def test_checked_draft_is_started_without_its_files_again(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog_id = draft(api, mine, feeder, KNOWN, ARCHIVE)
    checked = show(api, mine, catalog_id)
    assert (checked["status"], checked["dry_run"]) == ("finished", True)
    assert checked["kept_until"] is not None
    assert checked["counts"]["rejected"] == 1
    assert jobs_of(api, catalog_id) == []
    started = call(api, mine, catalog_id, "start")
    assert (started.status_code, started.json()["status"]) == (202, "running")
    assert started.json()["kept_until"] is None
    feeder().step()
    assert [job.designation for job in jobs_of(api, catalog_id)] == ["Pool", "Book"]
    assert jobs_of(api, catalog_id)[0].image_uri is not None


def test_second_start_changes_nothing(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    catalog_id = draft(api, mine, feeder, KNOWN)
    call(api, mine, catalog_id, "start")
    feeder().step()
    again = call(api, mine, catalog_id, "start")
    assert (again.status_code, again.json()["dry_run"]) == (202, False)
    assert len(jobs_of(api, catalog_id)) == 2


def test_two_starts_at_once_start_once(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    catalog_id = draft(api, mine, feeder, KNOWN)
    with api.unit_of_work.reading() as session:
        owner = session.get_one(User, session.get_one(Catalog, catalog_id).user_id)
    principal = Principal(owner.id, owner.username, Role.CLIENT, "session")

    def started_by_another(_release: str) -> str:
        assert call(api, mine, catalog_id, "start").status_code == 202
        return "another"

    drafts.start(api.services.catalogs, principal, catalog_id, started_by_another)
    assert show(api, mine, catalog_id)["release"] != "another"


def test_start_uses_the_release_that_is_champion_now(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    of_alias = draft(api, mine, feeder, KNOWN)
    of_version = draft(api, mine, feeder, KNOWN, release="1")
    api.releases.mark_champion("2")
    api.services.champion.look()
    assert call(api, mine, of_alias, "start").json()["release"] == "2"
    assert call(api, mine, of_version, "start").json()["release"] == "1"


def test_columns_that_are_not_recognised_are_stated_after_a_look(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog_id = draft(api, mine, feeder, FOREIGN)
    assert show(api, mine, catalog_id)["status"] == "failed"
    assert call(api, mine, catalog_id, "start").status_code == 409
    found = call(api, mine, catalog_id, "sample").json()
    assert found["columns"] == ["Col A", "Col B", "Col C"]
    assert [row["cells"][0] for row in found["rows"]] == [f"title {one}" for one in range(1, 6)]
    assert [row["line"] for row in found["rows"]] == [2, 3, 4, 5, 6]
    assert (found["used_columns"], found["remembered"]) == ({}, False)
    again = call(api, mine, catalog_id, "check", {"columns": MAPPED})
    assert (again.status_code, again.json()["status"]) == (202, "validating")
    running = feeder()
    step_until_checked(api, running, catalog_id)
    assert call(api, mine, catalog_id, "sample").json()["used_columns"] == MAPPED
    call(api, mine, catalog_id, "start")
    running.step()
    assert texts_sent(api)[0] == [f"title {number}" for number in range(1, 8)]


def test_stated_columns_are_remembered_for_the_same_header_of_the_same_user(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    first = draft(api, mine, feeder, FOREIGN)
    call(api, mine, first, "check", {"columns": {**MAPPED, "description": None}})
    step_until_checked(api, feeder(), first)
    second = draft(api, mine, feeder, FOREIGN + b"title 8,words 8,8.jpg\r\n")
    found = call(api, mine, second, "sample").json()
    assert found["remembered"] is True
    assert found["used_columns"] == {"designation": "Col A", "image": "Col C"}
    assert show(api, mine, second)["status"] == "finished"
    other = draft(api, api.sign(api.user()), feeder, FOREIGN)
    catalog = api.get(Catalog, other)
    assert catalog is not None
    assert catalog.status == "failed"
    elsewhere = draft(api, mine, feeder, FOREIGN.replace(b"Col C", b"Col D"))
    assert show(api, mine, elsewhere)["status"] == "failed"


def test_field_is_left_without_a_column(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    rows = table(["Pool", "Blue", "1", "2"], header="designation,description,imageid,productid")
    catalog_id = draft(api, mine, feeder, rows)
    columns = {"description": None, "image": None}
    call(api, mine, catalog_id, "check", {"columns": columns})
    step_until_checked(api, feeder(), catalog_id)
    assert show(api, mine, catalog_id)["used_columns"] == {"designation": "designation"}


def test_field_of_json_lines_is_left_without_a_column(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    lines = b'{"titre": "Pool", "description": "Blue"}\n{"titre": "Book", "description": "Red"}\n'
    catalog_id = draft(api, mine, feeder, lines)
    call(api, mine, catalog_id, "check", {"columns": {"description": None}})
    running = feeder()
    step_until_checked(api, running, catalog_id)
    call(api, mine, catalog_id, "start")
    running.step()
    assert [job.description for job in jobs_of(api, catalog_id)] == ["", ""]


@pytest.mark.parametrize("what", ["check", "start", "sample"])
def test_draft_of_somebody_else_is_not_found(
    api: Api, mine: dict[str, str], feeder: Feeders, what: str
) -> None:
    catalog_id = draft(api, api.sign(api.user()), feeder, KNOWN)
    assert call(api, mine, catalog_id, what, {"columns": {}}).status_code == 404


@pytest.mark.parametrize("what", ["check", "start"])
@pytest.mark.parametrize("kind", ["dry run", "given up", "expired", "being checked"])
def test_dry_run_without_its_files_is_not_started(
    api: Api, mine: dict[str, str], feeder: Feeders, what: str, kind: str
) -> None:
    if kind == "dry run":
        catalog_id = send(api, mine, KNOWN, dry_run="true")["id"]
        step_until_checked(api, feeder(), catalog_id)
    elif kind == "being checked":
        catalog_id = send(api, mine, KNOWN, draft="true")["id"]
    else:
        catalog_id = draft(api, mine, feeder, KNOWN, ARCHIVE)
    if kind == "given up":
        api.client.delete(f"/v1/catalogs/{catalog_id}", headers=mine)
        assert "images.zip" not in in_storage(api, catalog_id)
    if kind == "expired":
        with api.unit_of_work() as work:
            work.session.execute(update(Catalog).values(kept_until=now() - timedelta(seconds=1)))
    answer = call(api, mine, catalog_id, what, {"columns": {}})
    assert answer.status_code == 409, answer.text
    assert "Expected a draft" in answer.json()["detail"]


def test_draft_with_only_rejected_rows_is_not_started(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog_id = draft(
        api, mine, feeder, table(["", "", "", "1"], ["\u200b", "", "", "2"], header=HEADER)
    )
    answer = call(api, mine, catalog_id, "start")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "Expected a row that can be classified. Received: only rejected rows",
    )


def test_archive_of_a_draft_counts_and_is_deleted_with_its_time(api: Api, feeder: Feeders) -> None:
    user: User = api.user()
    catalog_id = draft(api, api.sign(user), feeder, KNOWN, ARCHIVE)
    orphans = Orphans(api.unit_of_work, api.services.storage, Event())

    def stored() -> int:
        with api.unit_of_work.reading() as session:
            return stored_bytes(session, user.id)

    orphans.clean()
    assert stored() == len(KNOWN) + len(ARCHIVE)
    assert "images.zip" in in_storage(api, catalog_id)
    with api.unit_of_work() as work:
        work.session.execute(update(Catalog).values(kept_until=now() - timedelta(seconds=1)))
    orphans.clean()
    assert "images.zip" not in in_storage(api, catalog_id)
    assert "products" in in_storage(api, catalog_id)
    assert stored() == len(KNOWN)


def test_rejected_rows_are_grouped_by_reason_with_examples(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    long = (["x" * length, "", "", "9"] for length in (1_500, 1_200))
    rows = table(*(["", "", "", str(sku)] for sku in range(7)), *long, header=HEADER)
    catalog_id = draft(api, mine, feeder, rows + b"one,two,three,four,five\r\n")
    found = show(api, mine, catalog_id)["rejections"]
    assert [(one["column"], one["reason"], one["count"]) for one in found] == [
        ("designation", "Expected a title, a description or an image.", 7),
        ("designation", "Expected at most 1000 readable characters.", 2),
        ("", "Expected 4 cells.", 1),
    ]
    assert [one["line"] for one in found[0]["examples"]] == [2, 3, 4, 5, 6]
    assert found[1]["examples"][0] == {"row": 8, "line": 9, "value": "x" * 100}


def test_unknown_field_of_a_mapping_is_refused(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog_id = draft(api, mine, feeder, KNOWN)
    answer = call(api, mine, catalog_id, "check", {"columns": {"titel": "Col A"}})
    assert answer.status_code == 422


def test_file_that_is_no_table_is_refused_at_once(api: Api, mine: dict[str, str]) -> None:
    files = {"products": ("shop.pdf", b"%PDF-1.7 nothing")}
    answer = api.client.post("/v1/catalogs", headers=mine, files=files, data={"draft": "true"})
    assert (answer.status_code, "PDF" in answer.json()["detail"]) == (422, True)
