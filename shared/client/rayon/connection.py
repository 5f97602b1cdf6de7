"""One connection to the service: JSON in, JSON or a file out, and what is safe is tried again.

Safe are requests that may reach the service twice: reading, putting, deleting, and posting with an
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

import httpx
import tenacity

from rayon.errors import Limited, RayonError, Unreachable
from rayon.files import replacing
from rayon.problems import error_of

Outcome = TypeVar("Outcome")
#: Called before a pause, with its seconds and what came in its way.
OnPause = Callable[[float, RayonError], None]

#: The service may take long to store what it was sent, or to begin to answer.
TIMEOUT = httpx.Timeout(connect=10, read=120, write=60, pool=10)
#: As long as the service has not answered once, its address may be wrong; do not insist.
FIRST_PATIENCE_SECONDS = 3.0
LONGEST_PAUSE_SECONDS = 10.0
#: Answers after which the same request may succeed a little later.
PASSING = frozenset({None, 502, 503, 504})


class Connection:
    """Sends requests, as somebody.

    Args:
        url: The service's address.
        auth: Signs the requests.
        patience_seconds: How long a safe request is tried again.
        on_pause: Told before each pause.
    """

    def __init__(
        self, url: str, auth: httpx.Auth | None, patience_seconds: float, on_pause: OnPause
    ) -> None:
        agent = {"User-Agent": f"rayon-client/{importlib.metadata.version('rayon-client')}"}
        self.url = url
        self._http = httpx.Client(
            base_url=url, auth=auth, timeout=TIMEOUT, headers=agent, verify=_tls_context()
        )
        self._patience_seconds = patience_seconds
        self._on_pause = on_pause
        self._has_answered = False

    def close(self) -> None:
        """Let go of the network."""
        self._http.close()

    def json(self, method: str, path: str, **parts: Any) -> dict[str, Any]:
        """Ask for a JSON object; `parts` as httpx takes them."""
        return self._patiently(self._is_safe(method, parts), self._json, method, path, parts)

    def send(self, method: str, path: str, **parts: Any) -> None:
        """Send what has no answer but that it was done."""
        self._patiently(self._is_safe(method, parts), self._answer, method, path, parts)

    def download(self, path: str, to: Path) -> None:
        """Write an answer to a file, whole or not at all."""
        self._patiently(True, self._download, path, to)

    def _json(self, method: str, path: str, parts: dict[str, Any]) -> dict[str, Any]:
        response = self._answer(method, path, parts)
        try:
            said = response.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            # Such as the login page of a proxy.
            raise Unreachable(
                f"{self.url} answers, but not as Rayon does. Is the address right?",
                status=response.status_code,
            )
        return said

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

    def _patiently(self, is_safe: bool, act: Callable[..., Outcome], *arguments: Any) -> Outcome:
        patience = self._patience_seconds if self._has_answered else FIRST_PATIENCE_SECONDS
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: is_safe and _may_pass(error)),
            wait=_pause,
            stop=tenacity.stop_before_delay(min(patience, self._patience_seconds)),
            before_sleep=self._tell,
            reraise=True,
        )
        outcome: Outcome = retrying(self._reach, act, *arguments)
        return outcome

    def _reach(self, act: Callable[..., Outcome], *arguments: Any) -> Outcome:
        try:
            return act(*arguments)
        except httpx.TransportError as error:
            said = str(error) or type(error).__name__
            raise Unreachable(f"No answer from {self.url} ({said}).") from error
        except httpx.InvalidURL as error:
            raise Unreachable(f"{self.url} is no address: {error}", status=0) from error

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RayonError):
            self._on_pause(state.upcoming_sleep, error)

    @staticmethod
    def _is_safe(method: str, parts: dict[str, Any]) -> bool:
        return method in ("GET", "PUT", "DELETE") or "Idempotency-Key" in parts.get("headers", {})


def _tls_context() -> ssl.SSLContext:
    """Return a context that trusts the authorities of certifi and those of the system.

    SSL_CERT_FILE and SSL_CERT_DIR replace both.
    """
    return _trusting(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.cache
def _trusting(file: str | None, folder: str | None) -> ssl.SSLContext:
    # Shared by all clients: reading the store takes 20 ms.
    context = httpx.create_ssl_context()
    if not (file or folder):
        # The system's store may hold a private authority, which certifi cannot know.
        context.load_default_certs()
    return context


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Limited) or (
        isinstance(error, Unreachable) and error.status in PASSING
    )


def _pause(state: tenacity.RetryCallState) -> float:
    """As long as the service says; else longer each time, and never all clients at once."""
    error = state.outcome.exception() if state.outcome else None
    said: float | None = getattr(error, "retry_after", None)
    if said is not None:
        return said
    longest = min(LONGEST_PAUSE_SECONDS, 0.5 * 2.0 ** min(state.attempt_number - 1, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311  # nosec B311  # no secret
