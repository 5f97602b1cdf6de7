"""HTTP connection to the service that retries safe requests.

A request is safe if it may reach the service twice: GET, PUT, DELETE, and POST with an
Idempotency-Key.
"""

import functools
import importlib.metadata
import os
import random
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import tenacity

from rayon.errors import Limited, RayonError, Unreachable
from rayon.files import replacing
from rayon.problems import error_of

Outcome = TypeVar("Outcome")
#: Called before each pause with its length in seconds and the error that caused it.
OnPause = Callable[[float, RayonError], None]

#: Storing a large upload or preparing an answer may take the service a long time.
TIMEOUT = httpx.Timeout(connect=10, read=120, write=60, pool=10)
#: Until the first answer the address may be wrong, so give up early.
FIRST_PATIENCE_SECONDS = 3.0
LONGEST_PAUSE_SECONDS = 10.0
#: Status codes after which the same request may succeed later; None: no answer at all.
TRANSIENT_STATUSES = frozenset({None, 502, 503, 504})


class Connection:
    """HTTP client with credentials, retries and error mapping.

    Args:
        url: The service's address.
        auth: Credentials added to each request.
        patience_seconds: How long a safe request is retried.
        on_pause: Called before each pause.
    """

    def __init__(
        self, url: str, auth: httpx.Auth | None, patience_seconds: float, on_pause: OnPause
    ) -> None:
        agent = {"User-Agent": f"rayon-client/{importlib.metadata.version('rayon-client')}"}
        self.url = url
        self._http = httpx.Client(
            base_url=url, auth=auth, timeout=TIMEOUT, headers=agent, verify=_tls_context(url)
        )
        self._patience_seconds = patience_seconds
        self._on_pause = on_pause
        self._has_answered = False

    def close(self) -> None:
        """Close the network connections."""
        self._http.close()

    def json(self, method: str, path: str, **parts: Any) -> dict[str, Any]:
        """Send a request and return the JSON object; `parts` are arguments of `httpx.request`."""
        return self._retried(self._is_safe(method, parts), self._json, method, path, parts)

    def send(self, method: str, path: str, **parts: Any) -> None:
        """Send a request whose response has no body."""
        self._retried(self._is_safe(method, parts), self._answer, method, path, parts)

    def cookie(self, name: str) -> str | None:
        """Return a cookie that a response has set."""
        return self._http.cookies.get(name)

    def download(self, path: str, to: Path) -> None:
        """Write a response to a file atomically."""
        self._retried(True, self._download, path, to)

    def _json(self, method: str, path: str, parts: dict[str, Any]) -> dict[str, Any]:
        response = self._answer(method, path, parts)
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            # For example the login page of a proxy.
            raise Unreachable(
                f"The answer of {self.url} is not from a Rayon service. Is the URL correct?",
                status=response.status_code,
            )
        return body

    def _answer(self, method: str, path: str, parts: dict[str, Any]) -> httpx.Response:
        return self._checked(self._http.request(method, path, **parts))

    def _download(self, path: str, to: Path) -> None:
        with self._http.stream("GET", path) as response:
            if not response.is_success:
                response.read()
            self._checked(response)
            with replacing(to) as file:
                for piece in response.iter_bytes():
                    file.write(piece)

    def _checked(self, response: httpx.Response) -> httpx.Response:
        self._has_answered = True
        if not response.is_success:
            raise error_of(response)
        return response

    def _retried(self, is_safe: bool, act: Callable[..., Outcome], *arguments: Any) -> Outcome:
        patience = self._patience_seconds if self._has_answered else FIRST_PATIENCE_SECONDS
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: is_safe and _is_transient(error)),
            wait=_pause,
            stop=tenacity.stop_before_delay(min(patience, self._patience_seconds)),
            before_sleep=self._report_pause,
            reraise=True,
        )
        outcome: Outcome = retrying(self._reach, act, *arguments)
        return outcome

    def _reach(self, act: Callable[..., Outcome], *arguments: Any) -> Outcome:
        try:
            return act(*arguments)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"No answer from {self.url} ({reason}).") from error
        except httpx.InvalidURL as error:
            raise Unreachable(
                f"Expected a valid URL ({error}). Received: {self.url!r}", status=0
            ) from error

    def _report_pause(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RayonError):
            self._on_pause(state.upcoming_sleep, error)

    @staticmethod
    def _is_safe(method: str, parts: dict[str, Any]) -> bool:
        return method in ("GET", "PUT", "DELETE") or "Idempotency-Key" in parts.get("headers", {})


def _tls_context(url: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities of certifi and those of the system.

    SSL_CERT_FILE and SSL_CERT_DIR replace both. Without TLS the context is empty: it trusts nobody.
    """
    if urlsplit(url).scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _trusting(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache
def _trusting(file: str | None, folder: str | None) -> ssl.SSLContext:
    # All clients share the context, because reading the store takes 20 ms.
    context = httpx.create_ssl_context()
    if not (file or folder):
        # The system's store may hold a private authority, which certifi cannot know.
        context.load_default_certs()
    return context


def _is_transient(error: BaseException) -> bool:
    return isinstance(error, Limited) or (
        isinstance(error, Unreachable) and error.status in TRANSIENT_STATUSES
    )


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the service's `Retry-After`, or else an exponential back-off with jitter."""
    error = state.outcome.exception() if state.outcome else None
    retry_after: float | None = getattr(error, "retry_after", None)
    if retry_after is not None:
        return retry_after
    longest = min(LONGEST_PAUSE_SECONDS, 0.5 * 2.0 ** min(state.attempt_number - 1, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311  # nosec B311  # no secret
