"""ASGI middleware that refuses forms and requests that pages of other sites send.

The cookie of the console has `SameSite=Lax`, which other hosts of the same site do not respect, nor
old browsers. Source of the algorithm: `net/http.CrossOriginProtection` of Go, after Filippo
Valsorda, "Cross-Site Request Forgery", 2025. In contrast to it, a request without both headers is
refused too, because only browsers have a session here.
"""

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.identity.browser_cookie import CONSOLE
from gateway.web.error_handlers import of_error
from shared.errors import Forbidden

_SAFE = ("GET", "HEAD", "OPTIONS")


class SameOrigin:
    """Refuses unsafe requests to the console that do not come from its own pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["path"].startswith(CONSOLE) and not _is_own(scope):
            error = Forbidden("Expected a request of the console's own pages. Received: another")
            await of_error(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_own(scope: Scope) -> bool:
    if scope["method"] in _SAFE:
        return True
    headers: dict[bytes, bytes] = dict(scope["headers"])
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin"
    origin = urlsplit(headers.get(b"origin", b"").decode("latin-1"))
    host = headers.get(b"host", b"").decode("latin-1")
    return bool(host) and origin.netloc.lower() == host.lower()
