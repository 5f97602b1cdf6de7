"""Tests of the forms of large uploads: unknown, repeated and misplaced fields."""

from typing import Any

import pytest

from shared.db.models import Role
from tests.unit.gateway.conftest import Api

TABLE = ("shop.csv", b"designation\nPiscine\n", "text/csv")


@pytest.fixture
def operator(api: Api) -> dict[str, str]:
    """Return the headers of an operator."""
    return api.sign(api.user(Role.OPERATOR))


def send(api: Api, headers: dict[str, str], path: str, files: list[Any], query: str = "") -> Any:
    """Send a form, and return the invalid fields and the detail of its refusal."""
    answer = api.client.post(f"{path}{query}", headers=headers, files=files)
    assert answer.status_code == 422, answer.text
    return [error["field"] for error in answer.json()["errors"]], answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "own", "unknown", "nearest"),
    [
        ("/v1/catalogs", "products", "pictures", "images"),
        ("/v1/catalogs", "products", "colums", "columns"),
        ("/v1/catalogs", "products", "dryrun", "dry_run"),
        ("/v1/datasets", "products", "label", "labels"),
        ("/v1/datasets/shop/rows", "products", "removed", "remove"),
    ],
)
def test_unknown_field_of_an_upload_is_refused(
    api: Api, operator: dict[str, str], path: str, own: str, unknown: str, nearest: str
) -> None:
    fields, detail = send(api, operator, path, [(own, TABLE), (unknown, (None, "x"))])
    assert fields == [unknown]
    assert f"Received: `{unknown}`. Did you mean `{nearest}`?" in detail


def test_unknown_field_of_a_label_file_is_refused(api: Api, operator: dict[str, str]) -> None:
    created = api.client.post("/v1/catalogs", headers=operator, files={"products": TABLE})
    path = f"/v1/catalogs/{created.json()['id']}/labels"
    fields, detail = send(api, operator, path, [("label", TABLE)])
    assert fields == ["label"]
    assert "Did you mean `labels`?" in detail


@pytest.mark.parametrize("path", ["/v1/catalogs", "/v1/datasets"])
def test_repeated_file_of_an_upload_is_refused(
    api: Api, operator: dict[str, str], path: str
) -> None:
    files = [("products", TABLE), ("products", TABLE)]
    assert send(api, operator, path, files) == (
        ["products"],
        "Expected one `products`. Received: 2",
    )


def test_fields_of_an_upload_in_the_query_string_are_refused(
    api: Api, operator: dict[str, str]
) -> None:
    files = [("products", TABLE)]
    fields, detail = send(api, operator, "/v1/catalogs", files, "?dry_run=true")
    assert fields == ["dry_run"]
    assert "Expected `dry_run` in the body. Received: it in the query string" in detail


def test_text_as_a_file_of_an_upload_is_refused(api: Api, operator: dict[str, str]) -> None:
    assert send(api, operator, "/v1/catalogs", [("products", (None, "designation\nx\n"))]) == (
        ["products"],
        "Expected a file as `products`. Received: text",
    )


def test_rows_to_remove_may_be_repeated(api: Api, operator: dict[str, str]) -> None:
    files = [("remove", (None, "1")), ("remove", (None, "2"))]
    answer = api.client.post("/v1/datasets/none/rows", headers=operator, files=files)
    assert answer.status_code == 404


def test_field_of_a_browser_with_the_charset_is_accepted(api: Api, mine: dict[str, str]) -> None:
    data = {"designation": "Piscine", "_charset_": "UTF-8"}
    assert api.client.post("/v1/jobs", headers=mine, data=data).status_code == 202
