"""Tests of the messages for invalid fields: none has the words of a framework."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from pydantic_core._pydantic_core import list_all_errors

from gateway.app import build_app
from gateway.web.validation_messages import body_message, kind_of, message_of
from shared.db.models import Role
from tests.unit.gateway.conftest import Api

FRAMEWORK = re.compile(
    r"Input should|Value error|Field required|[Ss]hould (be|have|match)|Extra inputs|<class|"
    r"UploadFile|valid (string|integer|dictionary|boolean)|error parsing|maximum size|Multipart|"
    r"pydantic|starlette"
)
#: Values of other kinds than the fields of bodies.
WRONG: list[Any] = [[], {}, None, True, 5, 1.5, "", "x" * 2_000, [{}], {"a": []}]


@pytest.mark.parametrize("one", list_all_errors(), ids=lambda one: str(one["type"]))
def test_every_error_of_pydantic_has_a_message_of_ours(one: Any) -> None:
    if one["type"] in ("value_error", "assertion_error"):
        return
    for value in ("x", [1]):
        error = {
            "type": one["type"],
            "loc": ("body", "field"),
            "msg": one["message_template_python"],
            "input": value,
            "ctx": {**(one["example_context"] or {}), "expected": "'a'"},
        }
        assert re.match(r"Expected .+\. Received: .+", message_of(error)), error
        assert not FRAMEWORK.search(message_of(error))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"type": "missing", "input": {"a": 1}}, "Expected a value. Received: none"),
        ({"type": "string_type", "input": 5}, "Expected text. Received: a number"),
        ({"type": "int_parsing", "input": "five"}, "Expected a whole number. Received: 'five'"),
        ({"type": "int_from_float", "input": 1.5}, "Expected a whole number. Received: 1.5"),
        (
            {"type": "literal_error", "input": "x", "ctx": {"expected": "'a' or 'b'"}},
            "Expected 'a' or 'b'. Received: 'x'",
        ),
        (
            {"type": "less_than_equal", "input": 300, "ctx": {"le": 200}},
            "Expected at most 200. Received: 300",
        ),
        (
            {"type": "string_too_short", "input": "secret", "ctx": {"min_length": 8}},
            "Expected at least 8 characters. Received: 6",
        ),
        (
            {"type": "string_pattern_mismatch", "input": "secret", "ctx": {"pattern": "^a$"}},
            "Expected text that matches `^a$`. Received: other text",
        ),
        (
            {"type": "model_attributes_type", "input": "secret"},
            "Expected a JSON object. Received: text",
        ),
        ({"type": "list_type", "input": {}}, "Expected a list. Received: an object"),
    ],
)
def test_message_states_both_sides(error: dict[str, Any], message: str) -> None:
    assert message_of({"loc": ("body", "field"), "msg": "", **error}) == message


@pytest.mark.parametrize(
    ("message", "ours"),
    [
        (
            "Too many files. Maximum number of files is 20.",
            "Expected at most 20 files. Received: more",
        ),
        (
            "Part exceeded maximum size of 1024KB.",
            "Expected texts of at most 1024 KiB. Received: a longer one",
        ),
        ("Expected a body. Received: none", "Expected a body. Received: none"),
    ],
)
def test_message_about_the_whole_body(message: str, ours: str) -> None:
    assert body_message(message) == ours


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1, "a number"),
        ("", "text"),
        ([], "a list"),
        ({}, "an object"),
    ],
)
def test_kinds_of_json_values_are_named(value: object, kind: str) -> None:
    assert kind_of(value) == kind


def bodies(api: Api) -> Iterator[tuple[str, str, list[str]]]:
    """Iterate over the method, path and fields of the routes that read JSON."""
    for context in iter_route_contexts(build_app(api.services).routes):
        body = getattr(context, "body_field", None)
        if body is not None and type(body.field_info).__name__ == "Body":
            fields = getattr(body.field_info.annotation, "model_fields", {})
            yield min(context.methods or ()), context.path or "", list(fields)


def refusals(api: Api, headers: dict[str, str]) -> Iterator[Any]:
    """Iterate over the answers to invalid requests of all kinds."""
    ask = api.client.request
    for method, path, fields in bodies(api):
        path = path.replace("{username}", "someone").replace("{job_id}", "one")
        for value in WRONG:
            yield ask(method, path, headers=headers, json=dict.fromkeys(fields, value))
            yield ask(method, path, headers=headers, json=value)
        yield ask(method, path, headers=headers, json={"titel": 1})
        yield ask(method, path, headers=headers)
        for kind in ("application/json", "text/plain", "multipart/form-data"):
            typed = {**headers, "Content-Type": kind}
            yield ask(method, path, headers=typed, content=b"{\xff")
    for query in ("limit=0", "limit=x", "limit=201", "status=magic", "cursor=x", "wait=x"):
        yield ask("GET", f"/v1/jobs?{query}", headers=headers)
        yield ask("GET", f"/v1/jobs/one?{query}", headers=headers)
    form = {**headers, "Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="designation"'
    for path in ("/v1/jobs", "/v1/catalogs", "/v1/datasets", "/v1/token"):
        for content in (b"--b\r\nnonsense", b"nonsense", b"", head, b"--b\r\n\r\nx\r\n--b--\r\n"):
            yield ask("POST", path, headers=form, content=content)
        typed = {**headers, "Content-Type": "multipart/form-data"}
        yield ask("POST", path, headers=typed, content=b"x")
        many = b"".join(head + b"\r\n\r\nx\r\n" for _ in range(30)) + b"--b--\r\n"
        yield ask("POST", path, headers=form, content=many)
        files = head + b'; filename="a"\r\n\r\nx\r\n'
        yield ask("POST", path, headers=form, content=files * 30 + b"--b--\r\n")
    yield ask("GET", "/v1/none", headers=headers)
    yield ask("PATCH", "/v1/jobs", headers=headers)


def test_no_refusal_has_the_words_of_a_framework(api: Api) -> None:
    headers, refused = api.sign(api.user(Role.ADMIN)), 0
    for answer in refusals(api, headers):
        if answer.status_code in (400, 404, 405, 422):
            refused += 1
            assert not FRAMEWORK.search(answer.text), (answer.request.url, answer.text)
            if answer.status_code == 422:
                assert "Expected" in answer.text or "Received" in answer.text, answer.text
    assert refused > 100


def test_unknown_field_of_json_names_the_known_ones(api: Api) -> None:
    answer = api.client.post("/v1/token/refresh", json={"refresh_tokn": "x"})
    assert {
        "field": "refresh_tokn",
        "message": "Expected one of `refresh_token`. Received: "
        "`refresh_tokn`. Did you mean `refresh_token`?",
    } in answer.json()["errors"]
