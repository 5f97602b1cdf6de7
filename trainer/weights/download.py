"""Download of one file: resumed after an interruption, checked, and atomic.

`keras.utils.get_file` and pooch begin again after each interruption, and keep no part of a file.
"""

import hashlib
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import create_urllib3_context

from shared.errors import RayonError, Unavailable

#: Time limits for the connection and for silence, in seconds.
TIMEOUT = (10, 60)
#: Bytes that are written at once; a broken connection loses at most so many.
CHUNK = 64 * 1024
#: Tries after a broken connection, and the pause before the first of them, in seconds; it doubles.
TRIES, PAUSE_SECONDS = 5, 1.0
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

#: Called with the bytes on disk and those of the whole file; 0 if they are unknown.
OnBytes = Callable[[int, int], None]


class BrokenDownload(RayonError):
    """A downloaded file is not the published one."""

    title = "Broken download"


def download(
    url: str, target: Path, *, md5: str, on_bytes: OnBytes, pause_seconds: float = PAUSE_SECONDS
) -> None:
    """Fetch a file, or the rest of one that was begun, and check it.

    Proxies are those of the environment. Certificates are checked against certifi's authorities and
    those of the system, which may hold a private one, or against `REQUESTS_CA_BUNDLE`.

    Args:
        url: The file's address.
        target: Where it appears once it is complete and good.
        md5: Its checksum.
        on_bytes: Called after each piece.
        pause_seconds: Pause before the second try.

    Raises:
        Unavailable: The server does not answer or refuses. What was fetched is kept.
        BrokenDownload: The complete file has another checksum; it is deleted.
    """
    part = target.with_name(f".{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, TRIES + 1):
        try:
            with _session() as session:
                _fetch(session, url, part, on_bytes)
            break
        except (requests.ConnectionError, requests.Timeout, _Interrupted) as error:
            if number == TRIES:
                raise Unavailable(f"{url} cannot be fetched: {_reason(error)}") from error
            time.sleep(pause_seconds * 2 ** (number - 1))
    _check(part, md5, url)
    part.rename(target)


class _Interrupted(Exception):
    """The connection broke in the middle, or the server asks to try later."""


def _fetch(session: requests.Session, url: str, part: Path, on_bytes: OnBytes) -> None:
    done = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status = response.status_code
        if status == requests.codes.requested_range_not_satisfiable:
            # Everything is there already; the checksum decides.
            return
        if status in _TRANSIENT:
            raise _Interrupted(f"HTTP {status}")
        if not response.ok:
            raise Unavailable(f"{url} cannot be fetched: HTTP {status}")
        # Without ranges, the server sends the file from its beginning.
        _write(response, part, done if status == requests.codes.partial_content else 0, on_bytes)


def _write(response: requests.Response, part: Path, done: int, on_bytes: OnBytes) -> None:
    total = done + int(response.headers.get("Content-Length", 0))
    with part.open("ab" if done else "wb") as file:
        try:
            for piece in response.iter_content(CHUNK):
                file.write(piece)
                done += len(piece)
                on_bytes(done, total)
        except requests.RequestException as error:
            raise _Interrupted(_reason(error)) from error
    if done < total:
        raise _Interrupted(f"{done} of {total} bytes arrived")


def _check(part: Path, md5: str, url: str) -> None:
    with part.open("rb") as file:
        # MD5 is what Keras publishes; it protects against damage, and HTTPS against others.
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        part.unlink()
        raise BrokenDownload(f"Expected {url} with the MD5 {md5}. Received: {found}")


def _session() -> requests.Session:
    session = requests.Session()
    session.mount("https://", _SystemStore())
    return session


class _SystemStore(HTTPAdapter):
    """Trusts the authorities of the system's store too."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Build the pool of direct connections."""
        super().init_poolmanager(*arguments, **options, ssl_context=_context())

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Build the pool of connections through a proxy."""
        return super().proxy_manager_for(proxy, **options, ssl_context=_context())


def _context() -> ssl.SSLContext:
    context = create_urllib3_context()
    context.load_default_certs()
    return context


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
