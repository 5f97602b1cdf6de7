"""ASGI middleware that shows problem documents to people as pages.

Routes of the console fail like those of the API. A browser that asked for a page gets the sentence
of the problem on a page, or the sign-in; a script gets the problem document itself.
"""

import json
from collections.abc import MutableMapping
from typing import Any

import structlog
from fastapi import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.console.visit import Visit
from gateway.identity.browser_cookie import CONSOLE, delete_cookie
from gateway.identity.principal import Origin
from gateway.web.error_handlers import PROBLEM, problem

log = structlog.get_logger(__name__)


class ErrorPages:
    """Replaces problem documents in responses of the console to browsers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not _wants_page(scope):
            await self._app(scope, receive, send)
            return
        caught = _Caught(send)
        try:
            await self._app(scope, receive, caught.send)
        except Exception as error:
            if caught.has_started:
                raise
            log.error("request_crashed", exc_info=error)
            caught.status, caught.headers = 500, {}
            caught.body = bytes(problem(500, "Internal error", "").body)
        if caught.status:
            await _page(scope, caught)(scope, receive, send)


class _Caught:
    """Passes a response on, unless it is a problem document, which it keeps."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_started = False
        self.status = 0
        self.headers: MutableMapping[str, str] = {}
        self.body = b""

    async def send(self, message: Message) -> None:
        """Handle one message of the application."""
        if message["type"] == "http.response.start":
            headers = _decoded(message)
            if headers.get("content-type", "").startswith(PROBLEM):
                self.status, self.headers = message["status"], headers
                return
            self.has_started = True
        elif self.status:
            self.body += message.get("body", b"")
            return
        await self._send(message)


def _page(scope: Scope, caught: _Caught) -> Response:
    request = Request(scope)
    visit = Visit(
        request,
        scope["app"].state.services,
        Origin(None, None, request.state.trace_id),
        getattr(request.state, "principal", None),
    )
    if caught.status == 401 and scope["method"] in ("GET", "HEAD"):
        address = scope["path"] + (f"?{request.url.query}" if request.url.query else "")
        away: Response = RedirectResponse(visit.url("/sign-in", next=address), 303)
        delete_cookie(away, request)
        return away
    found = json.loads(caught.body)
    page = visit.page(
        "error.html", caught.status, status=caught.status, detail=found.get("detail", "")
    )
    for name in ("retry-after", "allow"):
        if name in caught.headers:
            page.headers[name] = caught.headers[name]
    return page


def _decoded(message: Message) -> dict[str, str]:
    pairs: Any = message.get("headers", ())
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}


def _wants_page(scope: Scope) -> bool:
    if not scope["path"].startswith(CONSOLE):
        return False
    accepted: bytes = dict(scope["headers"]).get(b"accept", b"")
    return b"text/html" in accepted
