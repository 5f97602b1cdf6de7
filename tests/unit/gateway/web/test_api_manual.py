"""Tests that the API manual describes every operation, parameter and field."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from shared.db.models import Role
from tests.unit.gateway.conftest import Api

#: Keys of a schema that contain further schemas, by name and as a list.
NAMED = ("properties", "$defs")
LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
#: Keys of a schema that contain one further schema.
SINGLE = ("items", "additionalProperties", "not")
#: Words of which a description has one, by the end of the name of its field.
UNITS = {
    "_at": ("Time", "Begin", "End"),
    "_seconds": ("seconds", "Seconds"),
    "_in": ("Seconds",),
    "_per_second": ("Rate", "Throughput"),
}


def blank(text: object) -> bool:
    return not (isinstance(text, str) and text.strip())


def parts(schema: dict[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    """Yield the schemas that a schema contains, and where they are."""
    for key in NAMED:
        yield from ((f"{where}.{name}", one) for name, one in schema.get(key, {}).items())
    for key in LISTED:
        yield from ((where, one) for one in schema.get(key, []))
    yield from ((f"{where}[]", schema[key]) for key in SINGLE if isinstance(schema.get(key), dict))


def undescribed_properties(schema: dict[str, Any], where: str) -> Iterator[str]:
    for name, value in schema.get("properties", {}).items():
        if blank(value.get("description")):
            yield f"{where}.{name}"
    for place, one in parts(schema, where):
        yield from undescribed_properties(one, place)


def without_unit(schema: Any, where: str) -> Iterator[str]:
    for name, value in schema.get("properties", {}).items():
        for end, words in UNITS.items():
            if name.endswith(end) and not any(one in value["description"] for one in words):
                yield f"{where}.{name}"


def undescribed_contents(content: dict[str, Any], where: str) -> Iterator[str]:
    for kind, media in content.items():
        yield from undescribed_properties(media["schema"], f"{where} {kind}")


def undescribed_in_operation(operation: dict[str, Any], where: str) -> Iterator[str]:
    yield from (f"{where} {key}" for key in ("summary", "description") if blank(operation.get(key)))
    for parameter in operation.get("parameters", []):
        if blank(parameter.get("description")):
            yield f"{where} {parameter['in']} parameter {parameter['name']}"
    yield from undescribed_contents(operation.get("requestBody", {}).get("content", {}), where)
    for status, answer in operation["responses"].items():
        if blank(answer.get("description")):
            yield f"{where} answer {status}"
        yield from undescribed_contents(answer.get("content", {}), f"{where} {status}")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def undescribed(document: dict[str, Any]) -> list[str]:
    components = document["components"]
    found: list[str] = []
    for where, operation in operations(document):
        found += undescribed_in_operation(operation, where)
    for name, schema in components["schemas"].items():
        found += undescribed_properties(schema, name)
    for kind in ("headers", "securitySchemes"):
        found += [name for name, one in components[kind].items() if blank(one.get("description"))]
    return sorted(set(found))


def is_nullable(schema: dict[str, Any]) -> bool:
    return {"type": "null"} in schema.get("anyOf", [])


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.client.get("/openapi.json").json()
    return found


def header_names(operation: dict[str, Any], status: str) -> set[str]:
    return set(operation["responses"][status]["headers"])


def test_manual_describes_every_operation_parameter_and_field(document: dict[str, Any]) -> None:
    assert undescribed(document) == []


def test_undescribed_fields_are_found_at_every_depth() -> None:
    inner = {"type": "object", "properties": {"deep": {"type": "string", "description": " "}}}
    schema = {"properties": {"list": {"description": "A list.", "items": {"anyOf": [inner]}}}}

    assert list(undescribed_properties(schema, "Body")) == ["Body.list[].deep"]


def test_times_durations_and_rates_state_their_kind(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    found = [one for name, schema in schemas.items() for one in without_unit(schema, name)]

    assert found == []


def test_fields_of_responses_state_the_meaning_of_null(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    found = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, value in schema.get("properties", {}).items()
        # Fields of requests may be left out, fields of responses are always there.
        if is_nullable(value) and field in schema.get("required", ())
        if "`null`" not in value["description"]
    ]

    assert found == []


def test_optional_parameters_state_their_default(document: dict[str, Any]) -> None:
    found = [
        f"{where} {parameter['name']}"
        for where, operation in operations(document)
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query" and "default" not in parameter["schema"]
        if not any(word in parameter["description"] for word in ("by default", "Omit it"))
    ]

    assert found == []


def test_each_operation_has_a_summary_of_its_own(document: dict[str, Any]) -> None:
    found = {where: operation["summary"] for where, operation in operations(document)}

    assert [one for one, count in Counter(found.values()).items() if count > 1] == []
    # FastAPI generates summaries in title case, such as `Show` and `List Api Keys`.
    assert [one for one in found.values() if one == one.title() or one.endswith(".")] == []
    assert max(map(len, found.values())) <= 100
    assert found["GET /v1/jobs/{job_id}"] == "Return a job"


def test_summary_is_the_beginning_of_the_description(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        plain = " ".join(operation["description"].split())
        assert plain.startswith(f"{operation['summary']}."), where


def test_manual_names_the_headers_of_every_refusal(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        for status in operation["responses"]:
            names = header_names(operation, status)
            assert "X-Request-ID" in names, (where, status)
            assert ("Retry-After" in names) == (status in ("429", "503")), (where, status)
            assert ("WWW-Authenticate" in names) == (status == "401"), (where, status)


def test_manual_names_the_headers_that_responses_have(api: Api, document: dict[str, Any]) -> None:
    headers = api.sign(api.user(Role.ADMIN))
    # The security headers of every response are left out of the manual.
    known = {name.lower(): name for name in document["components"]["headers"]}
    for method, path, body in (
        ("POST", "/v1/api-keys", {"name": "shop", "scopes": ["jobs:read"]}),
        ("POST", "/v1/users", {"username": "ann"}),
        ("POST", "/v1/training-runs", {"reason": "new season"}),
        ("GET", "/v1/audit-log/export", None),
        ("GET", "/v1/jobs", None),
        ("GET", "/livez", None),
    ):
        response = api.client.request(method, path, json=body, headers=headers)
        assert response.is_success, response.text
        named = header_names(document["paths"][path][method.lower()], str(response.status_code))
        assert named == {known[one] for one in response.headers if one in known}, path
