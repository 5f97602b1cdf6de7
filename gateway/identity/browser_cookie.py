"""The cookie of a browser's session.

Over TLS its name has the prefix `__Host-` (RFC 6265bis, section 4.1.3.2), so that no other host of
the domain can set it. The prefix needs the path `/`; the cookie is accepted below `/console` only.
"""

from starlette.requests import HTTPConnection
from starlette.responses import Response

#: Paths of the console, where the cookie is accepted.
CONSOLE = "/console"
_NAME = "rayon_session"


def read_cookie(request: HTTPConnection) -> str | None:
    """Return the value of the session cookie, if the request has one."""
    return request.cookies.get(_name(request))


def set_cookie(response: Response, request: HTTPConnection, value: str) -> None:
    """Set the session cookie, which the browser forgets when it is closed."""
    response.set_cookie(
        _name(request),
        value,
        path=_path(request),
        secure=_is_secure(request),
        httponly=True,
        samesite="lax",
    )


def delete_cookie(response: Response, request: HTTPConnection) -> None:
    """Delete the session cookie."""
    response.delete_cookie(
        _name(request),
        path=_path(request),
        secure=_is_secure(request),
        httponly=True,
        samesite="lax",
    )


def local_path(address: str | None, fallback: str) -> str:
    """Return the path to continue at after signing in; never one of another host."""
    sent = (address or "").replace("\\", "/")
    is_local = sent.startswith(f"{CONSOLE}/") or sent == CONSOLE
    return sent if is_local and "//" not in sent and "\n" not in sent else fallback


def _name(request: HTTPConnection) -> str:
    return f"__Host-{_NAME}" if _is_secure(request) else _NAME


def _path(request: HTTPConnection) -> str:
    return "/" if _is_secure(request) else f"{request.scope.get('root_path', '')}{CONSOLE}"


def _is_secure(request: HTTPConnection) -> bool:
    return request.url.scheme == "https"
