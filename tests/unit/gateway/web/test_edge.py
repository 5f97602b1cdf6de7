"""Tests of the edge: strangers' bodies, foreign charsets, NUL and lone surrogates."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import TypeAdapter
from starlette import requests

from gateway.app import ROUTES, build_app
from shared.db.models import Role
from tests.unit.gateway.conftest import Api

#: Routes that callers use before they have signed in.
PUBLIC = {"/v1/token", "/v1/token/refresh", "/v1/password"}
FOREIGN = [
    "punycode",
    "unicode_escape",
    "undefined",
    "idna",
    "utf-16",
    "latin-1",
    '"UTF-7"',
    "rot13",
]


def form(content: bytes = b"x", name: str = "designation", rest: str = "") -> bytes:
    """Return a multipart body with one part."""
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{rest}\r\n\r\n'
    return head.encode() + content + b"\r\n--x--\r\n"


def multipart(charset: str | None = None) -> dict[str, str]:
    """Return the content type of a multipart form."""
    ending = f"; charset={charset}" if charset else ""
    return {"Content-Type": f"multipart/form-data; boundary=x{ending}"}


class Unread:
    """A body that notes whether it was read. It ends only after its first piece."""

    def __init__(self, content: bytes) -> None:
        self.content, self.is_read = content, False

    async def __call__(self) -> dict[str, Any]:
        self.is_read = True
        return {"type": "http.request", "body": self.content, "more_body": False}


def send(api: Api, path: str, method: str, body: Unread, headers: dict[str, str]) -> int:
    """Send a request to the application itself, and return the status of the response."""
    statuses: list[int] = []

    async def note(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "scheme": "http",
    }
    assert api.client.portal is not None
    api.client.portal.call(api.client.app, scope, body, note)
    return statuses[0]


def routes_with_a_body() -> Iterator[tuple[str, str]]:
    """Iterate over method and path of the routes that read a body after sign-in."""
    for module in ROUTES:
        for route in module.router.routes:
            if isinstance(route, APIRoute) and route.path not in PUBLIC:
                for method in (route.methods or set()) & {"POST", "PUT", "PATCH"}:
                    yield method, route.path


@pytest.mark.parametrize(("method", "path"), sorted(set(routes_with_a_body())))
@pytest.mark.parametrize(
    "kind",
    ["application/json", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"],
)
def test_body_of_a_stranger_is_not_read(api: Api, method: str, path: str, kind: str) -> None:
    body = Unread(b"{" * 1_000)
    headers = {"Content-Type": kind, "Authorization": "Bearer forged"}
    assert send(api, path, method, body, headers) == 401
    assert not body.is_read


def test_body_of_a_user_without_permission_is_not_read(api: Api, mine: dict[str, str]) -> None:
    body = Unread(b"{}")
    headers = {"Content-Type": "application/json", **mine}
    assert send(api, "/v1/users", "POST", body, headers) == 403
    assert not body.is_read


def test_request_with_a_body_is_authenticated_once(api: Api, mine: dict[str, str]) -> None:
    answers = [api.client.post("/v1/jobs", data={"designation": "x"}, headers=mine) for _ in "ab"]
    first, second = (int(one.headers["ratelimit"].split("r=")[1].split(";")[0]) for one in answers)
    assert first - second == 1


@pytest.mark.parametrize("charset", FOREIGN)
@pytest.mark.parametrize("path", ["/v1/token", "/v1/jobs", "/v1/catalogs", "/v1/datasets"])
def test_form_in_another_charset_is_refused_before_its_body_is_read(
    api: Api, path: str, charset: str
) -> None:
    body = Unread(form(b"a" * 100_000))
    headers = {**multipart(charset), **api.sign(api.user(Role.OPERATOR))}
    assert send(api, path, "POST", body, headers) == 422
    assert not body.is_read


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_other_bodies_in_another_charset_are_refused(api: Api, kind: str) -> None:
    body = Unread(b"{}")
    headers = {"Content-Type": f"{kind}; Charset=utf-16"}
    assert send(api, "/v1/token/refresh", "POST", body, headers) == 422
    assert not body.is_read


@pytest.mark.parametrize("charset", ["utf-8", '"UTF-8"', "utf8", "us-ascii"])
def test_utf_8_is_accepted(api: Api, mine: dict[str, str], charset: str) -> None:
    headers = {**multipart(charset), **mine}
    answer = api.client.post("/v1/jobs", content=form("Théière".encode()), headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize("text", ["\\ud800", "x\\udfff", "\\u0000"])
def test_lone_surrogates_are_422(api: Api, admin: dict[str, str], text: str) -> None:
    bodies = [
        ("POST", "/v1/token/refresh", f'{{"refresh_token": "{text}"}}'),
        ("POST", "/v1/token/refresh", f'{{"{text}": "x"}}'),
        ("POST", "/v1/password", f'{{"code": "{text}", "new_password": "long enough"}}'),
        ("PUT", "/v1/me/password", f'{{"current_password": "{text}", "new_password": "{text}"}}'),
        ("POST", "/v1/api-keys", f'{{"name": "{text}", "scopes": ["jobs:read"]}}'),
        ("POST", "/v1/users", f'{{"username": "{text}"}}'),
        ("POST", "/v1/training-runs", f'{{"reason": "{text}"}}'),
        ("POST", "/v1/drift-alerts", f'{{"summary": "{text}"}}'),
    ]
    for method, path, body in bodies:
        headers = {"Content-Type": "application/json", **admin}
        answer = api.client.request(method, path, content=body, headers=headers)
        assert answer.status_code == 422, (path, answer.text)


def test_surrogates_in_the_bytes_of_json_are_422(api: Api) -> None:
    body = b'{"refresh_token": "\xed\xa0\x80"}'
    answer = api.client.post(
        "/v1/token/refresh", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    "body",
    [
        form(b"a\x00b"),
        form(b"a", name="a\x00b"),
        form(b"a", name="image", rest='; filename="a\x00b"'),
        form(b"latin-1", name="_charset_"),
    ],
)
def test_nul_in_a_form_is_422(api: Api, mine: dict[str, str], body: bytes) -> None:
    for path in ("/v1/jobs", "/v1/catalogs"):
        answer = api.client.post(path, content=body, headers={**multipart(), **mine})
        assert answer.status_code == 422 or (answer.status_code == 400 and b"\x00" in body)


@pytest.mark.parametrize("path", ["/v1/jobs/a%00b", "/v1/jobs?catalog=a%00b", "/v1/users/%00"])
def test_nul_in_a_url_is_422(api: Api, admin: dict[str, str], path: str) -> None:
    assert api.client.get(path, headers=admin).status_code == 422


@pytest.mark.parametrize(
    "body", ["[" * 20_000, "1" * 9_000, '{"refresh_token": ' * 3_000, '{"a": 1e999999}', "NaN"]
)
def test_odd_json_is_a_client_error(api: Api, body: str) -> None:
    answer = api.client.post(
        "/v1/token/refresh", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 413, 422), answer.text


def test_every_json_body_is_checked_for_storable_texts(api: Api) -> None:
    found, unstorable = 0, json.loads('{"x": ["\\ud800"]}')
    for context in iter_route_contexts(build_app(api.services).routes):
        body = getattr(context, "body_field", None)
        if body is None or type(body.field_info).__name__ != "Body":
            continue
        found += 1
        with pytest.raises(ValueError, match="lone surrogates"):
            TypeAdapter(body.field_info.annotation).validate_python(unstorable)
    assert found >= 8


def test_cookie_reaches_the_parser_without_escapes(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []

    def parse(text: str) -> dict[str, str]:
        parsed.append(text)
        return {}

    monkeypatch.setattr(requests, "cookie_parser", parse)
    cookie = 'a="' + "\\1" * 10_000 + '"; rayon_device=x'
    api.client.get("/livez", headers={"Cookie": cookie})
    assert parsed
    assert not any("\\" in text for text in parsed)
    assert all("rayon_device=x" in text for text in parsed)
