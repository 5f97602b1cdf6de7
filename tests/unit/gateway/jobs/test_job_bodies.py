"""Tests of the bodies that submit a product: forms and JSON."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import func, select

from gateway.app import build_app
from gateway.jobs.product_body import MAX_JSON_VALUES, product_of
from gateway.settings import GatewaySettings
from gateway.web.forms import MAX_TEXT_BYTES
from shared.contracts import ScoreImage, ScoreText
from shared.db.models import Job
from shared.errors import TooLarge
from tests.unit.gateway.conftest import Api

IMAGE = ("a.jpg", b"not an image", "image/jpeg")
JSON = {"Content-Type": "application/json"}


def problem_of(answer: Any, status: int = 422) -> tuple[list[str], str]:
    """Return the invalid fields and the detail of a problem document."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    return [error["field"] for error in body.get("errors", [])], body["detail"]


def job_count(api: Api) -> int:
    """Return the number of stored jobs."""
    with api.unit_of_work.reading() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


# Forms


@pytest.mark.parametrize(
    ("field", "nearest"),
    [
        ("title", "designation"),
        ("Titre du produit", "designation"),
        ("picture", "image"),
        ("desciption", "description"),
        ("modle", "model"),
    ],
)
def test_unknown_field_is_refused_with_the_nearest_one(
    api: Api, mine: dict[str, str], field: str, nearest: str
) -> None:
    requests: tuple[dict[str, Any], ...] = (
        {"data": {"description": "Pour enfants", field: "x"}},
        {"data": {"description": "Pour enfants"}, "files": {field: IMAGE}},
        {"json": {"description": "Pour enfants", field: "x"}},
    )
    for request in requests:
        fields, detail = problem_of(api.client.post("/v1/jobs", headers=mine, **request))
        assert fields == [field]
        assert "Expected one of `designation`, `description`, `image`, `model`" in detail
        assert f"Received: `{field}`. Did you mean `{nearest}`?" in detail
    assert job_count(api) == 0


def test_each_unknown_field_is_named(api: Api, mine: dict[str, str]) -> None:
    data = {"title": "Piscine", "description": "Pour enfants", "zzz": "x"}
    answer = api.client.post("/v1/jobs", headers=mine, data=data, files={"picture": IMAGE})
    fields, detail = problem_of(answer)
    assert fields == ["title", "zzz", "picture"]
    assert "`zzz`. Did you mean" not in detail


def test_long_name_of_a_field_is_shortened(api: Api, mine: dict[str, str]) -> None:
    answer = api.client.post("/v1/jobs", headers=mine, json={"x" * 10_000: "y"})
    assert len(problem_of(answer)[1]) < 400
    assert len(answer.content) < 1_000


@pytest.mark.parametrize("query", ["designation=x", "title=x", "image=a.jpg&model=text"])
def test_fields_in_the_query_string_are_refused(api: Api, mine: dict[str, str], query: str) -> None:
    fields, detail = problem_of(
        api.client.post(f"/v1/jobs?{query}", headers=mine, data={"description": "x"})
    )
    assert fields == [part.split("=")[0] for part in query.split("&")]
    assert "Expected `" in detail
    assert "in the body. Received: it in the query string" in detail


def test_two_images_are_refused(api: Api, mine: dict[str, str]) -> None:
    files = [("image", IMAGE), ("image", ("b.jpg", b"other", "image/jpeg"))]
    answer = api.client.post("/v1/jobs", headers=mine, files=files)
    assert problem_of(answer) == (["image"], "Expected one `image`. Received: 2")


def test_two_values_of_a_field_are_refused(api: Api, mine: dict[str, str]) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", **mine}
    answer = api.client.post("/v1/jobs", headers=form, content="designation=a&designation=b")
    assert problem_of(answer) == (["designation"], "Expected one `designation`. Received: 2")
    body = '{"designation": "a", "designation": "b"}'
    answer = api.client.post("/v1/jobs", headers={**JSON, **mine}, content=body)
    assert problem_of(answer) == (["designation"], "Expected one `designation`. Received: 2")


def test_address_as_image_is_refused(api: Api, mine: dict[str, str]) -> None:
    address = {"designation": "Piscine", "image": "https://shop.example/a.jpg"}
    answer = api.client.post("/v1/jobs", headers=mine, files={"image": (None, address["image"])})
    assert problem_of(answer) == (["image"], "Expected a file as `image`. Received: text")
    answer = api.client.post("/v1/jobs", headers=mine, data=address)
    assert problem_of(answer) == (["image"], "Expected a file as `image`. Received: text")


def test_file_as_text_is_refused(api: Api, mine: dict[str, str]) -> None:
    answer = api.client.post("/v1/jobs", headers=mine, files={"designation": IMAGE})
    assert problem_of(answer) == (
        ["designation"],
        "Expected text as `designation`. Received: a file",
    )


def test_empty_field_of_a_browser_is_no_image(api: Api, mine: dict[str, str]) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="designation"\r\n\r\nPiscine\r\n'
        b'--b\r\nContent-Disposition: form-data; name="image"; filename=""\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b", **mine}
    assert api.client.post("/v1/jobs", headers=headers, content=body).status_code == 202
    (message,) = api.broker.messages
    assert isinstance(message, ScoreText)


def test_empty_file_is_unreadable(api: Api, mine: dict[str, str]) -> None:
    answer = api.client.post(
        "/v1/jobs", headers=mine, data={"designation": "a"}, files={"image": ("a.jpg", b"")}
    )
    assert answer.status_code == 422
    assert "image_unreadable" in answer.json()["type"]
    assert "HEIC" in answer.text
    assert "an empty file" in answer.text


def test_text_that_is_not_read_is_limited_too(api: Api, mine: dict[str, str]) -> None:
    settings = api.services.settings.model_copy(update={"max_body_bytes": 3 * MAX_TEXT_BYTES})
    app = build_app(replace(api.services, settings=settings))
    style = {"description": f"<style>{'x' * MAX_TEXT_BYTES}</style>Piscine"}
    with TestClient(app) as client:
        requests: list[tuple[dict[str, Any], int]] = [
            ({"data": style}, 400),
            ({"json": style}, 413),
        ]
        for request, status in requests:
            answer = client.post("/v1/jobs", headers=mine, **request)
            assert problem_of(answer, status)[1].startswith("Expected")
        shorter = {"description": f"<style>{'x' * 100_000}</style>Piscine"}
        assert client.post("/v1/jobs", headers=mine, json=shorter).status_code == 202


def test_image_of_the_largest_size_fits_into_json() -> None:
    settings = GatewaySettings(secret_key=SecretStr("s" * 32))
    texts = 2 * settings.max_text_characters * len("\\ud83d\\ude00")
    assert settings.max_body_bytes > settings.max_image_bytes * 4 / 3 + texts


def test_form_in_another_charset_is_refused(api: Api, mine: dict[str, str]) -> None:
    kind = "application/x-www-form-urlencoded; charset=iso-8859-1"
    content = b"designation=Cafeti%E8re+%E9maill%E9e"
    answer = api.client.post("/v1/jobs", headers={**mine, "Content-Type": kind}, content=content)
    assert "Expected the charset UTF-8" in problem_of(answer)[1]


def test_other_content_types_are_refused(api: Api, mine: dict[str, str]) -> None:
    for path in ("/v1/jobs", "/v1/catalogs"):
        headers = {**mine, "Content-Type": "text/plain"}
        answer = api.client.post(path, headers=headers, content="designation=Piscine")
        assert "`multipart/form-data`" in problem_of(answer)[1]
        assert "Received: `text/plain`" in problem_of(answer)[1]
    answer = api.client.post("/v1/catalogs", headers=mine, json={"products": "x"})
    assert "Received: `application/json`" in problem_of(answer)[1]


# JSON


def test_json_body_becomes_a_job(api: Api, mine: dict[str, str]) -> None:
    content = b"not an image"
    product = {
        "designation": "Théière",
        "description": None,
        "image": base64.b64encode(content).decode(),
        "release": "2",
    }
    answer = api.client.post("/v1/jobs", headers=mine, json=product)
    assert answer.status_code == 202, answer.text
    assert (answer.json()["model"], answer.json()["release"]) == ("fusion", "2")
    text, image = api.broker.messages
    assert isinstance(text, ScoreText)
    assert isinstance(image, ScoreImage)
    assert [(item.designation, item.description) for item in text.items] == [("Théière", "")]
    assert api.services.storage.get(image.items[0].uri) == content


def test_json_and_form_with_one_key_are_the_same_job(api: Api, mine: dict[str, str]) -> None:
    headers = {**mine, "Idempotency-Key": "order-1"}
    first = api.client.post("/v1/jobs", headers=headers, data={"designation": "x"})
    again = api.client.post("/v1/jobs", headers=headers, json={"designation": "x"})
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])


@pytest.mark.parametrize("empty", [None, ""])
def test_json_without_an_image_is_a_text(api: Api, mine: dict[str, str], empty: str | None) -> None:
    product = {"designation": "Piscine", "image": empty}
    assert api.client.post("/v1/jobs", headers=mine, json=product).status_code == 202
    (message,) = api.broker.messages
    assert isinstance(message, ScoreText)


def test_base64_may_be_a_data_address_with_line_breaks(api: Api, mine: dict[str, str]) -> None:
    text = base64.encodebytes(b"i" * 100).decode()
    answer = api.client.post(
        "/v1/jobs", headers=mine, json={"image": f"data:image/png;base64,{text}"}
    )
    assert answer.status_code == 202, answer.text
    (message,) = api.broker.messages
    assert isinstance(message, ScoreImage)
    assert api.services.storage.get(message.items[0].uri) == b"i" * 100


@pytest.mark.parametrize(
    ("body", "fields", "detail"),
    [
        ({}, ["designation"], "Expected a `designation`, a `description` or an `image`"),
        ({"designation": 5}, ["designation"], "Expected text as `designation`. Received: a number"),
        ({"designation": True}, ["designation"], "Received: a boolean"),
        (
            {"description": ["a"]},
            ["description"],
            "Expected text as `description`. Received: a list",
        ),
        ({"image": {"url": "x"}}, ["image"], "Expected text as `image`. Received: an object"),
        (
            {"image": "https://shop.example/a.jpg"},
            ["image"],
            "Expected a file in base64 as `image`. Received: other text",
        ),
        ({"image": "YWJ"}, ["image"], "Expected a file in base64 as `image`"),
        ({"designation": "x", "model": "magic"}, ["model"], "Expected one of"),
        ({"designation": "x", "release": "99"}, ["release"], ""),
        ({"designation": "x" * 2_001}, ["designation"], "at most 2000 readable characters"),
        ([{"designation": "x"}], [], "Expected a JSON object. Received: a list"),
        ("x", [], "Expected a JSON object. Received: text"),
        (None, [], "Expected a JSON object. Received: null"),
    ],
)
def test_bad_json_is_422_with_the_field(
    api: Api, mine: dict[str, str], body: Any, fields: list[str], detail: str
) -> None:
    headers = {**JSON, **mine}
    found = problem_of(api.client.post("/v1/jobs", headers=headers, content=json.dumps(body)))
    assert found[0] == fields
    assert detail in found[1]
    assert job_count(api) == 0


def test_image_over_the_limit_is_413_in_json(api: Api, mine: dict[str, str]) -> None:
    image = base64.b64encode(b"x" * 20_001).decode()
    fields, detail = problem_of(
        api.client.post("/v1/jobs", headers=mine, json={"image": image}), 413
    )
    assert fields == ["image"]
    assert "at most 20000 bytes" in detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"designation": "x",}',
        b"designation=Piscine",
        b'{"designation": \xe9}',
        b"[" * 20_000,
        b'{"designation": ' + b"1" * 9_000 + b"}",
        b'{"designation": NaN}',
        b'{"designation": "\\ud800"}',
        b'{"designation": "a\\u0000b"}',
        b'{"\\ud800": "x"}',
        b"{" + b",".join(b'"%d":0' % number for number in range(3_000)) + b"}",
        b'{"designation": "x", "image": "' + "é".encode() + b'"}',
    ],
)
def test_odd_json_is_422(api: Api, mine: dict[str, str], body: bytes) -> None:
    answer = api.client.post("/v1/jobs", headers={**JSON, **mine}, content=body)
    assert "Expected" in problem_of(answer)[1]
    assert len(answer.content) < 60_000


def test_many_fields_of_json_are_counted_and_not_named(api: Api, mine: dict[str, str]) -> None:
    body = {f"field {number}": 0 for number in range(1_000)}
    answer = api.client.post("/v1/jobs", headers=mine, json=body)
    assert problem_of(answer) == ([], "Expected at most 100 fields. Received: 1000")


def test_many_values_of_json_are_refused_before_they_are_parsed(settings: GatewaySettings) -> None:
    # Each of them would take fifty times its bytes.
    with pytest.raises(TooLarge, match="at most 300000 values"):
        product_of(b"[" * MAX_JSON_VALUES + b",", settings)


def test_json_is_documented_beside_the_form(api: Api) -> None:
    operation = api.client.get("/openapi.json").json()["paths"]["/v1/jobs"]["post"]
    content = operation["requestBody"]["content"]
    assert content.keys() == {
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "application/json",
    }
    for kind, one in content.items():
        fields = one["schema"]["properties"]
        assert list(fields) == ["designation", "description", "image", "model", "release"]
        assert fields["model"]["enum"] == ["fusion", "text", "image"]
        assert all("description" in field for field in fields.values()), kind
        assert one["schema"]["additionalProperties"] is False
