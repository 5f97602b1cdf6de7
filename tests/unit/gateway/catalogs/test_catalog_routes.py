"""Catalogs over HTTP."""

import csv
import errno
import io
from typing import Any

import pytest
from sqlalchemy import event

from gateway.catalogs.service import folder_of
from shared.db.models import Catalog
from shared.storage import Storage
from tests.unit.gateway.catalogs.catalog_system import (
    Feeders,
    answer_all,
    archive,
    send,
    show,
    step_until_checked,
    table,
)
from tests.unit.gateway.conftest import Api

ROWS = table(["A", "a description", ""])
ZIP = archive(a=b"x")

#: Files and fields of the request, and status and field of the expected error.
BAD: dict[str, tuple[dict[str, bytes], dict[str, str], int, str]] = {
    "nothing": ({}, {}, 422, "products"),
    "empty": ({"products": b""}, {}, 422, "products"),
    "other columns": ({"products": b"foo,bar\n1,2\n"}, {}, 422, "products"),
    "column twice": ({"products": b"image,image\na,b\n"}, {}, 422, "products.image"),
    "too many columns": ({"products": b"designation" + b"," * 1_000}, {}, 422, "products"),
    "a web page": ({"products": b"<html><table></table></html>"}, {}, 422, "products"),
    "a broken spreadsheet": ({"products": b"PK\x03\x04rest"}, {}, 422, "products"),
    "long header": ({"products": b"x" * 200_000}, {}, 422, "products"),
    "long names": ({"products": b"designation," + b"x" * 50_000 + b"\nA,1\n"}, {}, 422, "products"),
    "too large": ({"products": b"designation\n" + b"x\n" * 200_000}, {}, 413, ""),
    "not a zip": ({"products": ROWS, "images": b"no zip"}, {}, 422, "images"),
    "cut zip": ({"products": ROWS, "images": ZIP[:-10]}, {}, 422, "images"),
    "unknown model": ({"products": ROWS}, {"model": "audio"}, 422, "model"),
    "unknown release": ({"products": ROWS}, {"release": "77"}, 422, "release"),
    "images without an archive": ({"products": ROWS}, {"model": "image"}, 422, "images"),
    "images without a column": (
        {"products": b"designation\nA\n", "images": ZIP},
        {"model": "image"},
        422,
        "products",
    ),
    "unknown stated field": (
        {"products": ROWS},
        {"columns": '{"titel": "x"}'},
        422,
        "columns.titel",
    ),
    "stated column missing": (
        {"products": ROWS},
        {"columns": '{"designation": "Nom"}'},
        422,
        "products",
    ),
    "no stated columns": ({"products": ROWS}, {"columns": "[1]"}, 422, "columns"),
    "broken stated columns": ({"products": ROWS}, {"columns": "{"}, 422, "columns"),
    "no boolean": ({"products": ROWS}, {"dry_run": "perhaps"}, 422, "dry_run"),
}


@pytest.mark.parametrize("name", BAD)
def test_invalid_upload_is_rejected_and_nothing_is_stored(
    api: Api, mine: dict[str, str], name: str
) -> None:
    contents, fields, status, field = BAD[name]
    files = {kind: (f"shop.{kind}", content) for kind, content in contents.items()}
    answer = api.client.post(
        "/v1/catalogs", headers=mine, files=files or {"model": (None, b"text")}, data=fields
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json().get("errors", [])] == (
        [field] if field else []
    )
    assert api.client.get("/v1/catalogs", headers=mine).json()["items"] == []
    assert api.services.storage.folders("catalogs") == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/retry"),
        ("POST", "/resume"),
        ("GET", "/results"),
        ("GET", "/errors"),
    ],
)
def test_catalog_of_another_user_is_404(
    api: Api, mine: dict[str, str], method: str, path: str
) -> None:
    catalog = send(api, mine, ROWS)
    other = api.sign(api.user())
    answer = api.client.request(method, f"/v1/catalogs/{catalog['id']}{path}", headers=other)
    assert answer.status_code == 404
    assert show(api, mine, catalog["id"])["status"] == "validating"
    answer = api.client.request(method, f"/v1/catalogs/{catalog['id']}{path}")
    assert answer.status_code == 401


def test_same_key_and_content_is_one_catalog(api: Api, mine: dict[str, str]) -> None:
    first = send(api, mine, ROWS, ZIP, key="k")
    assert send(api, mine, ROWS, ZIP, key="k")["id"] == first["id"]
    assert send(api, mine, ROWS, ZIP)["id"] != first["id"]
    assert send(api, api.sign(api.user()), ROWS, ZIP, key="k")["id"] != first["id"]
    assert len(api.services.storage.folders("catalogs")) == 3


@pytest.mark.parametrize("change", [{"products": table(["B", "", ""])}, {"model": "text"}])
def test_same_key_with_other_content_conflicts(
    api: Api, mine: dict[str, str], change: dict[str, Any]
) -> None:
    send(api, mine, ROWS, key="k")
    files = {"products": ("shop.csv", change.pop("products", ROWS))}
    headers = {**mine, "Idempotency-Key": "k"}
    answer = api.client.post("/v1/catalogs", headers=headers, files=files, data=change)
    assert answer.status_code == 409


def test_too_many_catalogs_are_429_with_retry_after(api: Api, mine: dict[str, str]) -> None:
    for _ in range(3):
        send(api, mine, ROWS)
    answer = api.client.post("/v1/catalogs", headers=mine, files={"products": ("p.csv", ROWS)})
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:rayon:problem:limited")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "unfinished catalogs" in answer.json()["detail"]
    # The limits apply to each user separately.
    send(api, api.sign(api.user()), ROWS)


def test_retry_after_is_computed_from_the_measured_rate(api: Api, mine: dict[str, str]) -> None:
    ids = [send(api, mine, ROWS)["id"] for _ in range(3)]
    with api.unit_of_work() as work:
        for id_, rate in zip(ids, (5.0, 2.0, None), strict=True):
            found = work.session.get(Catalog, id_)
            assert found is not None
            found.status, found.rows, found.rows_per_second = "running", 100, rate
    answer = api.client.post("/v1/catalogs", headers=mine, files={"products": ("p.csv", ROWS)})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "20")


def test_failed_upload_leaves_no_files(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put, calls = Storage.put_stream, 0

    def failing(storage: Storage, uri: str, stream: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return put(storage, uri, stream)

    monkeypatch.setattr(Storage, "put_stream", failing)
    files = {"products": ("p.csv", ROWS), "images": ("p.zip", ZIP)}
    answer = api.client.post("/v1/catalogs", headers=mine, files=files)
    assert answer.status_code >= 500
    assert api.client.get("/v1/catalogs", headers=mine).json()["items"] == []
    assert api.services.storage.folders("catalogs") == []


def test_dry_run_checks_and_creates_no_jobs(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    rows = table(["A", "", "absent.jpg"], ["x" * 1_001, "", ""])
    catalog = send(api, mine, rows, ZIP, dry_run="true")
    step_until_checked(api, feeder(), catalog["id"])
    found = show(api, mine, catalog["id"])
    assert (found["status"], found["dry_run"]) == ("finished", True)
    assert found["counts"]["rejected"] == 1
    assert found["unmatched_images"] == ["absent.jpg"]
    assert api.client.get("/v1/jobs", headers=mine).json()["items"] == []
    results = api.client.get(f"/v1/catalogs/{catalog['id']}/results", headers=mine)
    assert results.status_code == 409
    errors = api.client.get(f"/v1/catalogs/{catalog['id']}/errors", headers=mine).text
    assert errors.splitlines()[0] == "row,line,column,value,reason,designation,description,image"
    assert errors.splitlines()[1].startswith(f"2,3,designation,{'x' * 100},Expected at most 1000")


def test_rejected_row_is_listed_with_its_own_cells(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, b"designation\tx\tx\tlast\n\tone\ttwo\t3\t4\nA\t1\t2\t3\n")
    step_until_checked(api, feeder(), catalog["id"])
    answer = api.client.get(f"/v1/catalogs/{catalog['id']}/errors", headers=mine)
    header, *rows = csv.reader(io.StringIO(answer.text))
    assert header[5:] == ["designation", "x", "x", "last"]
    assert [row[5:] for row in rows] == [["", "one", "two", "3"]]


def test_empty_columns_do_not_pad_the_list_of_rejected_rows(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    products = "".join('{"designation": ""}\n' for _ in range(1_000))
    keys = ", ".join(f'"k{n}": 1' for n in range(900))
    catalog = send(api, mine, f'{{"designation": "A", {keys}}}\n{products}'.encode())
    step_until_checked(api, feeder(), catalog["id"])
    errors = api.client.get(f"/v1/catalogs/{catalog['id']}/errors", headers=mine).text
    assert errors.splitlines()[1000].count(",") < 20


def test_upload_does_not_load_the_reports_of_other_catalogs(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(api, mine, ROWS)
    statements: list[str] = []
    event.listen(
        api.unit_of_work.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_rest: statements.append(statement),
    )
    send(api, mine, ROWS)
    loads = [statement for statement in statements if "catalogs.status IN" in statement]
    assert len(loads) == 2
    assert not any("report" in statement for statement in loads)


def test_lists_of_a_report_are_short_however_long_the_names_are(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    absent = [f"{number:04d}{'x' * 251}.jpg" for number in range(300)]
    rows, zipped = table(*(["A", "", name] for name in absent)), archive(a=b"x")
    catalog = send(api, mine, rows, zipped)
    step_until_checked(api, feeder(), catalog["id"])
    found = show(api, mine, catalog["id"])
    assert (found["unmatched_count"], len(found["unmatched_images"])) == (300, 196)


def test_names_of_refused_images_are_shortened(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    images = archive(**{f"{'y' * 20_000}{number}": b"x" for number in range(4)})
    catalog = send(api, mine, ROWS, images)
    step_until_checked(api, feeder(), catalog["id"])
    found = show(api, mine, catalog["id"])
    assert found["refused_count"] == 4
    assert [len(image["name"]) for image in found["refused_images"]] == [255] * 4
    assert all(image["reason"].startswith("Expected") for image in found["refused_images"])


def test_catalogs_are_listed_newest_first(api: Api, mine: dict[str, str]) -> None:
    ids = [send(api, mine, ROWS)["id"] for _ in range(3)]
    first = api.client.get("/v1/catalogs?limit=2", headers=mine).json()
    second = api.client.get(
        "/v1/catalogs", headers=mine, params={"limit": 2, "cursor": first["next_cursor"]}
    ).json()
    assert [item["id"] for item in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


def test_jobs_are_filtered_by_catalog(api: Api, mine: dict[str, str], feeder: Feeders) -> None:
    api.client.post("/v1/jobs", headers=mine, data={"designation": "single"})
    catalog = send(api, mine, table(["A", "", ""], ["B", "", ""]))
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    jobs = api.client.get("/v1/jobs", headers=mine, params={"catalog": catalog["id"]}).json()
    assert len(jobs["items"]) == 2
    assert len(api.client.get("/v1/jobs", headers=mine).json()["items"]) == 3


def test_only_finished_catalogs_with_failed_rows_can_be_retried(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, ROWS)
    address = f"/v1/catalogs/{catalog['id']}/retry"
    assert api.client.post(address, headers=mine).status_code == 409
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    answer_all(api, catalog["id"])
    running.step()
    answer = api.client.post(address, headers=mine)
    assert (answer.status_code, answer.json()["detail"]) == (409, "No row of this catalog failed")


def test_archive_is_removed_when_the_catalog_is_finished(
    api: Api, mine: dict[str, str], feeder: Feeders
) -> None:
    catalog = send(api, mine, table(["A", "", "a.jpg"]), ZIP)
    running = feeder()
    step_until_checked(api, running, catalog["id"])
    running.step()
    answer_all(api, catalog["id"])
    running.step()
    kept = {
        file.uri.rpartition("/")[2] for file in api.services.storage.files(folder_of(catalog["id"]))
    }
    assert kept == {"products", "errors.csv", "rejected.jsonl"}


@pytest.mark.parametrize(
    ("columns", "detail"),
    [
        ('{"titel": "x"}', "Received: `titel`. Did you mean `designation`?"),
        ('{"designation": "Titel"}', "Did you mean 'Titre'?"),
        ("{'designation': 'Titre'}", "Expected a JSON object. Received: other text"),
        ('["Titre"]', "Received: a list"),
        ('{"designation": 5}', "Received: a number"),
    ],
)
def test_wrong_columns_are_refused_with_the_nearest(
    api: Api, mine: dict[str, str], columns: str, detail: str
) -> None:
    table = {"products": ("shop.csv", b"Titre,Prix\nPiscine,10\n", "text/csv")}
    answer = api.client.post("/v1/catalogs", headers=mine, files=table, data={"columns": columns})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("Expected")
    assert answer.json()["detail"].endswith(detail)


@pytest.mark.parametrize("field", ["columns", "model", "release", "dry_run"])
def test_file_as_a_text_of_the_form_is_refused(api: Api, mine: dict[str, str], field: str) -> None:
    table = ("shop.csv", b"Titre\nPiscine\n", "text/csv")
    answer = api.client.post("/v1/catalogs", headers=mine, files={"products": table, field: table})
    assert answer.status_code == 422
    assert answer.json()["detail"] == f"Expected text as `{field}`. Received: a file"
