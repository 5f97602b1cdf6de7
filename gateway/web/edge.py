"""ASGI middleware that refuses unreadable requests, and strangers before their body is read."""

from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.params import Form
from fastapi.routing import APIRoute
from python_multipart.multipart import parse_options_header
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.web.error_handlers import Refused, of_error
from gateway.web.texts import require_storable, require_utf_8
from shared.errors import InvalidInput, RayonError


class Edge:
    """Refuses foreign charsets and NUL in the URL, and authenticates before a body is read.

    Args:
        app: The wrapped application.
        authenticate: Raises an error if the route of a request needs a principal and the request
            has none. Called before the first piece of the body is read.
    """

    def __init__(self, app: ASGIApp, authenticate: Callable[[Scope], Awaitable[None]]) -> None:
        self._app = app
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            _require_readable(scope)
        except InvalidInput as error:
            await of_error(error)(scope, receive, send)
            return
        is_known = False

        async def receive_authenticated() -> Message:
            nonlocal is_known
            if not is_known:
                try:
                    await self._authenticate(scope)
                except RayonError as error:
                    raise Refused(error) from error
                is_known = True
            return await receive()

        await self._app(scope, receive_authenticated, send)


async def require_storable_form(request: Request) -> None:
    """Check the texts of a form that FastAPI has read. A dependency of every route."""
    route = request.scope.get("route")
    body = route.body_field if isinstance(route, APIRoute) else None
    if body is not None and isinstance(body.field_info, Form):
        require_storable(await request.form())


def _require_readable(scope: Scope) -> None:
    # Invalid UTF-8 in a URL is replaced when it is decoded, so it holds no lone surrogates.
    if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
        raise InvalidInput("Expected a URL without NUL. Received: %00")
    for position, (name, value) in enumerate(scope["headers"]):
        if name == b"cookie" and b"\\" in value:
            # Python takes quadratic time for escapes (CVE-2024-7592). Rayon's cookies have none.
            scope["headers"][position] = (name, value.replace(b"\\", b""))
        if name == b"content-type" and b"charset" in value.lower():
            # Starlette decodes with any codec of Python, and some take quadratic time.
            _, options = parse_options_header(value)
            for option, charset in options.items():
                if option.lower() == b"charset":
                    require_utf_8(charset.decode("latin-1"))
