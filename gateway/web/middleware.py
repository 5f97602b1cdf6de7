"""ASGI middleware: trace ids, body limits, security headers, request logs and metrics."""

import re
import time
from collections.abc import Mapping
from fnmatch import translate
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web import reference
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
#: Methods with a metric label of their own. Others share the label `other`, because a client could
#: otherwise create any number of labels.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: API responses are data, which must not be cached, framed, sniffed or executed. Source: OWASP REST
#: Security Cheat Sheet.
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_POLICY = b"default-src 'none'; frame-ancestors 'none'"
#: A report is a single page with inline styles and without scripts.
REPORT_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'; sandbox"
)
_REPORTS = "/v1/reports/"
#: Probed every few seconds. Their log lines would bury all others.
_QUIET = ("/livez", "/readyz")


class Observed:
    """Logs and counts requests, and adds a trace id and security headers to responses.

    The trace id is that of the client if the request has one.

    Args:
        app: The wrapped application.
        draining: Once it has begun, each connection is closed after its response.
        is_production: True to send `Strict-Transport-Security`.
    """

    def __init__(self, app: ASGIApp, draining: Draining, *, is_production: bool = False) -> None:
        self._app = app
        self._draining = draining
        self._is_production = is_production

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
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
                sent = {name.lower() for name, _ in message["headers"]}
                added = _secured(scope, self._is_production)
                message["headers"] = [
                    *message["headers"],
                    (TRACE_HEADER, trace_id.encode()),
                    # A page may have a policy of its own.
                    *((name, value) for name, value in added if name not in sent),
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
    """Refuses request bodies over a limit, with or without a `Content-Length`.

    Args:
        app: The wrapped application.
        max_bytes: Limit of paths without an entry in `others`.
        others: Limits by path prefix, in which `*` stands for any text. The first matching prefix
            applies.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, others: Mapping[str, int] | None = None
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._others = [
            (re.compile(translate(f"{prefix}*")), size) for prefix, size in (others or {}).items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
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
                # FastAPI reports any other exception while it reads a body as a malformed body.
                raise HTTPException(TooLarge.status, _too_large(limit, read).detail)
            return message

        await self._app(scope, receive_limited, send)

    def _limit(self, path: str) -> int:
        for pattern, size in self._others:
            if pattern.match(path):
                return size
        return self._max_bytes


def _secured(scope: Scope, is_production: bool) -> list[tuple[bytes, bytes]]:
    headers = [*_HEADERS, (b"content-security-policy", _policy(scope["path"]))]
    if is_production:
        headers.append((b"strict-transport-security", b"max-age=31536000; includeSubDomains"))
    rate_headers: dict[str, str] = scope["state"].get("headers", {})
    added = ((name.lower().encode(), value.encode()) for name, value in rate_headers.items())
    return [*headers, *added]


def _policy(path: str) -> bytes:
    if path == reference.PATH:
        return reference.POLICY
    return REPORT_POLICY if path.startswith(_REPORTS) else _POLICY


def _too_large(limit: int, received: int) -> TooLarge:
    return TooLarge(f"Expected a body of at most {limit} bytes. Received: {received} or more")


def _trace_id(scope: Scope) -> str:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    requested = headers.get(TRACE_HEADER, b"").replace(b"-", b"")
    if _TRACE_ID.match(requested):
        return requested.decode().lower()
    parent = _TRACE_PARENT.match(headers.get(b"traceparent", b""))
    return parent.group(1).decode() if parent else new_trace_id()


def _tracing_headers(scope: Scope) -> dict[str, str]:
    parent = dict(scope["headers"]).get(b"traceparent")
    return {"traceparent": parent.decode("latin-1")} if parent else {}


def _describe(span: Any, scope: Scope, status: int) -> None:
    route = getattr(scope.get("route"), "path", "unmatched")
    span.update_name(f"{scope['method']} {route}")
    span.set_attribute("http.request.method", scope["method"])
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)


def _record(scope: Scope, status: int, seconds: float) -> None:
    # The route template is the label and not the path, because each job has a path of its own.
    route = getattr(scope.get("route"), "path", "unmatched")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    metrics.requests_total.labels(method, route, status).inc()
    waited: float = scope["state"].get("waited_seconds", 0.0)
    metrics.request_seconds.labels(method, route).observe(max(0.0, seconds - waited))
    if scope["path"] not in _QUIET:
        log.info(
            "request_answered",
            method=scope["method"],
            path=scope["path"],
            status=status,
            seconds=round(seconds, 4),
        )
