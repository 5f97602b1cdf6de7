"""Around every request: a trace id, a size limit, a log line, metrics."""

import re
import time
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web.draining import Draining
from gateway.web.error_handlers import of_error
from shared import metrics
from shared.errors import TooLarge
from shared.logs import bound_trace, new_trace_id
from shared.tracing import request_span

log = structlog.get_logger(__name__)

TRACE_HEADER = b"x-request-id"
_TRACE_ID = re.compile(rb"^[0-9a-fA-F]{32}$")
#: W3C Trace Context: version, trace id, parent id, flags.
_TRACE_PARENT = re.compile(rb"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
#: Anything else is counted as one, for a client may invent methods without end.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: An API's answers are data: not to be kept, framed, sniffed or run. Source: OWASP REST Security
#: Cheat Sheet.
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_POLICY = b"default-src 'none'; frame-ancestors 'none'"
#: The page of the documentation loads Swagger UI, and begins with a script of its own.
_DOCS_POLICY = (
    b"default-src 'none'; connect-src 'self'; img-src 'self' data: https://fastapi.tiangolo.com; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"style-src 'unsafe-inline' https://cdn.jsdelivr.net; frame-ancestors 'none'"
)
#: A report is one page without scripts; it has a style and nothing else.
_REPORT_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'; sandbox"
)
_REPORTS = "/v1/reports/"
#: Asked every few seconds by machines; logged they would hide the rest.
_QUIET = ("/livez", "/readyz")


class Observed:
    """Gives each request a trace id (or takes the client's), logs and counts it.

    Args:
        app: What answers.
        draining: Once it has begun, each connection is closed after its answer.
        is_production: Browsers are told to come by TLS alone.
    """

    def __init__(self, app: ASGIApp, draining: Draining, *, is_production: bool = False) -> None:
        self._app = app
        self._draining = draining
        self._is_production = is_production

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = _trace_id(scope)
        scope.setdefault("state", {})["trace_id"] = trace_id
        status, started = 500, time.perf_counter()

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (TRACE_HEADER, trace_id.encode()),
                    *_secured(scope, self._is_production),
                    *([(b"connection", b"close")] if self._draining.has_begun else ()),
                ]
            await send(message)

        with bound_trace(trace_id), request_span(trace_id, _tracing_headers(scope)) as span:
            try:
                await self._app(scope, receive, send_traced)
            finally:
                _record(scope, status, time.perf_counter() - started)
                if span is not None:
                    _describe(span, scope, status)


class LimitedBody:
    """Refuses bodies over a size, whether they announce it or not.

    Args:
        app: What answers.
        max_bytes: Of most requests.
        others: Other sizes, by what a path begins with; the first that fits counts.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, others: Mapping[str, int] | None = None
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._others = others or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope["path"])
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            await of_error(_too_large(limit, int(announced)))(scope, receive, send)
            return
        read = 0

        async def receive_limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                # FastAPI takes any other error while it reads a body for a malformed one.
                raise HTTPException(TooLarge.status, _too_large(limit, read).detail)
            return message

        await self._app(scope, receive_limited, send)

    def _limit(self, path: str) -> int:
        sizes = (size for prefix, size in self._others.items() if path.startswith(prefix))
        return next(sizes, self._max_bytes)


def _secured(scope: Scope, is_production: bool) -> list[tuple[bytes, bytes]]:
    found = [*_HEADERS, (b"content-security-policy", _policy(scope["path"]))]
    if is_production:
        found.append((b"strict-transport-security", b"max-age=31536000; includeSubDomains"))
    of_rates: dict[str, str] = scope["state"].get("headers", {})
    return [*found, *((name.lower().encode(), value.encode()) for name, value in of_rates.items())]


def _policy(path: str) -> bytes:
    if path == "/docs":
        return _DOCS_POLICY
    return _REPORT_POLICY if path.startswith(_REPORTS) else _POLICY


def _too_large(limit: int, received: int) -> TooLarge:
    return TooLarge(f"Expected a body of at most {limit} bytes. Received: {received} or more")


def _trace_id(scope: Scope) -> str:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    given = headers.get(TRACE_HEADER, b"").replace(b"-", b"")
    if _TRACE_ID.match(given):
        return given.decode().lower()
    parent = _TRACE_PARENT.match(headers.get(b"traceparent", b""))
    return parent.group(1).decode() if parent else new_trace_id()


def _tracing_headers(scope: Scope) -> dict[str, str]:
    found = dict(scope["headers"]).get(b"traceparent")
    return {"traceparent": found.decode("latin-1")} if found else {}


def _describe(span: Any, scope: Scope, status: int) -> None:
    route = getattr(scope.get("route"), "path", "unmatched")
    span.update_name(f"{scope['method']} {route}")
    span.set_attribute("http.request.method", scope["method"])
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)


def _record(scope: Scope, status: int, seconds: float) -> None:
    # The template and not the path: each job has a path of its own.
    route = getattr(scope.get("route"), "path", "unmatched")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    metrics.requests_total.labels(method, route, status).inc()
    metrics.request_seconds.labels(method, route).observe(seconds)
    if scope["path"] not in _QUIET:
        log.info(
            "request_answered",
            method=scope["method"],
            path=scope["path"],
            status=status,
            seconds=round(seconds, 4),
        )
