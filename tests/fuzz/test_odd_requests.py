"""No server error to foreign charsets, surrogates, odd content types and half-sent bodies.

Each request goes to a route that reads a body, as each role and signed out: `make fuzz`.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import hypothesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from gateway.app import ROUTES
from tests.fuzz.test_openapi import Visitor, responses
from tests.fuzz.test_openapi import api as api
from tests.fuzz.test_openapi import broker as broker
from tests.fuzz.test_openapi import catalog_settings as catalog_settings
from tests.fuzz.test_openapi import migrated as migrated
from tests.fuzz.test_openapi import rate_settings as rate_settings
from tests.fuzz.test_openapi import release_settings as release_settings
from tests.fuzz.test_openapi import response_counts as response_counts
from tests.fuzz.test_openapi import settings as settings
from tests.fuzz.test_openapi import sign_in_limit_settings as sign_in_limit_settings
from tests.fuzz.test_openapi import unit_of_work as unit_of_work
from tests.fuzz.test_openapi import visitor as visitor

EXAMPLES = int(os.environ.get("EXAMPLES", "50"))
FIELDS = (
    *("designation", "description", "model", "release", "image", "products", "images", "columns"),
    *("username", "password", "refresh_token", "code", "new_password", "current_password", "name"),
    *("labels", "reason", "summary", "prdtypecode", "scopes", "role", "month", "alerts", "version"),
    *("_charset_", "\ud800", "a\x00b", "é"),
)
CHARSETS = (
    *("utf-8", "punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined", "utf-7"),
    *("utf-16", "utf-32", "latin-1", "base64", "rot13", "zlib", "mbcs", "", '"', "x" * 300),
)
TYPES = (
    *("multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/json"),
    *("application/problem+json", "text/plain", "multipart/mixed; boundary=x", "", ";", "é/\x7f"),
    *("multipart/form-data", "multipart/form-data; boundary=", "APPLICATION/JSON", "a" * 2_000),
)
TEXTS = st.one_of(
    st.sampled_from(["\ud800", "x\udfff\x00", "\x00", "\ufeff", "1" * 5_000, "%00%ff%ED%A0%80"]),
    st.text(st.characters(exclude_categories=()), max_size=30),
)


@st.composite
def multipart(draw: st.DrawFn) -> bytes:
    """Draw a multipart body with broken texts, names and file names."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        name, text = draw(st.sampled_from(FIELDS)), draw(TEXTS)
        kind = f'; filename="{draw(TEXTS)[:20]}"' if draw(st.booleans()) else ""
        extra = draw(st.sampled_from(["", f"Content-Type: text/csv; charset={draw(charsets)}\r\n"]))
        head = f'--x\r\nContent-Disposition: form-data; name="{name}"{kind}\r\n{extra}\r\n'
        parts.append((head + text + "\r\n").encode("utf-8", "surrogatepass"))
    return b"".join(parts) + b"--x--\r\n"


@st.composite
def json_bodies(draw: st.DrawFn) -> bytes:
    """Draw JSON with escaped surrogates and NUL, with deep nesting and long numbers."""
    values = st.sampled_from(
        [r'"\ud800"', r'"\u0000"', "1" * 5_000, "[" * 5_000, "1e999", "NaN", "[]", "null", r'"\u"']
    )
    names = draw(st.lists(st.sampled_from(FIELDS[:-4]), min_size=1, max_size=4, unique=True))
    key = draw(st.sampled_from([r"\ud800", r"\u0000", "x"]))
    pairs = [f'"{name}": {draw(values)}' for name in names] + [f'"{key}": 1']
    return ("{" + ", ".join(pairs) + "}").encode()


charsets = st.sampled_from(CHARSETS)
bodies = st.one_of(
    multipart(), json_bodies(), st.binary(max_size=60), TEXTS.map(ascii).map(str.encode)
)


@st.composite
def content_types(draw: st.DrawFn) -> str:
    """Draw a content type, with or without a charset."""
    kind = draw(st.sampled_from(TYPES))
    return f"{kind}; charset={draw(charsets)}" if draw(st.booleans()) else kind


def send(
    visitor: Visitor, route: tuple[str, str], headers: dict[str, str], body: bytes, cut: int | None
) -> int | None:
    """Send a request to the application; with `cut`, disconnect after so many bytes."""
    pieces = [{"type": "http.request", "body": body[:cut], "more_body": cut is not None}]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return pieces.pop(0) if pieces else {"type": "http.disconnect"}

    async def note(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    method, path = route
    scope = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "scheme": "http",
    }
    assert visitor.api.client.portal is not None
    visitor.api.client.portal.call(visitor.api.client.app, scope, receive, note)
    return statuses[0] if statuses else None


def routes() -> Iterator[tuple[str, str]]:
    """Iterate over method and path of the routes that take a body."""
    for module in ROUTES:
        for route in module.router.routes:
            if isinstance(route, APIRoute):
                for method in (route.methods or set()) & {"POST", "PUT", "PATCH"}:
                    yield method, route.path


def test_odd_requests_get_no_server_error(visitor: Visitor) -> None:
    failures: list[str] = []

    @hypothesis.settings(
        max_examples=EXAMPLES * 10,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        route=st.sampled_from(sorted(set(routes()))),
        kind=content_types(),
        body=bodies,
        cut=st.none() | st.integers(0, 200),
    )
    def send_odd(route: tuple[str, str], kind: str, body: bytes, cut: int | None) -> None:
        headers, objects = visitor.sign_in()
        method, path = route
        known = path.format_map(defaultdict(lambda: "x", objects))
        status = send(visitor, (method, known), {**headers, "Content-Type": kind}, body, cut)
        if status is not None:
            responses[(visitor.role or "signed_out", status)] += 1
            if status >= 500:
                failures.append(f"{status} {method} {path} {kind!r} {body!r} cut at {cut}")

    send_odd()
    assert not failures, "\n".join(failures[:10])
