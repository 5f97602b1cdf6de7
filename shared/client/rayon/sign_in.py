"""Saved sign-ins, shared by several processes, and the request headers made from them.

A refresh token is valid only once. A process renews while it holds the file's lock, and saves the
new tokens before using them; the next process then finds them in the file.
"""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import filelock
import httpx
import platformdirs

from rayon.errors import RayonError, SignedOut, Unreachable
from rayon.files import PRIVATE, write_private
from rayon.problems import error_of

#: An access token that expires within this time is renewed before it is used.
MARGIN_SECONDS = 30.0
#: Longest time to wait for another process that holds the lock.
LOCK_SECONDS = 60.0

SIGN_IN_AGAIN = "Sign in with `rayon login`."


@dataclass(frozen=True)
class SignIn:
    """Credentials for one address: a pair of tokens, or an API key.

    Attributes:
        url: Address of the service.
        username: Name of the account.
        access_token: Token for requests, valid for some minutes.
        refresh_token: Token for the next access token; valid once.
        expires_at: Expiry of the access token by the local clock, as a Unix time.
        lifetime_seconds: Lifetime of an access token.
        api_key: Key used instead of the tokens.
    """

    url: str
    username: str
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: float = 0.0
    lifetime_seconds: float = 0.0
    api_key: str = field(default="", repr=False)

    def with_tokens(self, body: dict[str, Any]) -> "SignIn":
        """Return the sign-in with the tokens of a token response."""
        lifetime = float(body.get("expires_in", 0))
        return replace(
            self,
            access_token=body["access_token"],
            refresh_token=body["refresh_token"],
            expires_at=time.time() + lifetime,
            lifetime_seconds=lifetime,
        )

    def lasts(self, seconds: float) -> bool:
        """Return True if the access token stays valid for longer than `seconds`."""
        return self.expires_at - time.time() > seconds


class SavedSignIns:
    """Saved sign-ins of the local user, one per address.

    Args:
        path: File that only its owner may read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or platformdirs.user_config_path("rayon") / "sign-ins.json"

    def find(self, url: str | None = None) -> SignIn | None:
        """Return the sign-in at an address, or the latest one."""
        kept = self._read()
        found = kept["sign_ins"].get(url or kept["latest"])
        return SignIn(**found) if found else None

    def save(self, sign_in: SignIn, device: str | None = None) -> None:
        """Save a new sign-in and make it the latest; `device` is the cookie of this device."""
        with self.locked():
            kept = self._read()
            kept["sign_ins"][sign_in.url] = asdict(sign_in)
            if device:
                kept.setdefault("devices", {}).setdefault(sign_in.url, {})[sign_in.username] = (
                    device
                )
            self._write(kept | {"latest": sign_in.url})

    def device(self, url: str, username: str) -> str | None:
        """Return the cookie of this device for a user. It outlives the sign-in."""
        cookie: str | None = self._read().get("devices", {}).get(url, {}).get(username)
        return cookie

    def renew(self, sign_in: SignIn) -> None:
        """Save new tokens without making this sign-in the latest."""
        with self.locked():
            kept = self._read()
            kept["sign_ins"][sign_in.url] = asdict(sign_in)
            self._write(kept)

    def forget(self, url: str) -> None:
        """Delete the credentials of an address; it stays the default if it was the latest."""
        with self.locked():
            kept = self._read()
            if kept["sign_ins"].pop(url, None) is not None:
                self._write(kept)

    def latest_url(self) -> str | None:
        """Return the address of the latest sign-in, even after a sign-out."""
        return self._read()["latest"] or None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file's lock. The lock may be nested within a thread."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            # One lock object per path and thread allows nesting.
            with filelock.FileLock(
                f"{self.path}.lock", LOCK_SECONDS, mode=PRIVATE, is_singleton=True
            ):
                yield
        except filelock.Timeout:
            raise Unreachable(
                f"Another process has held {self.path}.lock for more than {LOCK_SECONDS:.0f} s."
            ) from None

    def _read(self) -> dict[str, Any]:
        try:
            kept: dict[str, Any] = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {"latest": "", "sign_ins": {}}
        except ValueError as error:
            raise RayonError(
                f"{self.path} is not valid JSON. Delete it and sign in again."
            ) from error
        return kept

    def _write(self, kept: dict[str, Any]) -> None:
        write_private(self.path, json.dumps(kept, indent=1))


class ApiKey(httpx.Auth):
    """Authentication of every request with an API key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the authentication header."""
        request.headers["X-API-Key"] = self._key
        yield request


class Bearer(httpx.Auth):
    """Authentication of every request with an access token that the caller renews."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the authentication header."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class Saved(httpx.Auth):
    """Authentication with the saved sign-in of an address; renews its tokens.

    Args:
        saved: Store of the tokens.
        url: Address of the service.
    """

    def __init__(self, saved: SavedSignIns, url: str) -> None:
        self._saved = saved
        self._url = url

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header; renew the token before it expires or after it is refused."""
        sign_in = self._kept()
        if not sign_in.lasts(_required_validity_seconds(request, sign_in)):
            sign_in = yield from self._renew(sign_in)
        request.headers["Authorization"] = f"Bearer {sign_in.access_token}"
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            sign_in = yield from self._renew(sign_in)
            request.headers["Authorization"] = f"Bearer {sign_in.access_token}"
            yield request

    def _renew(self, old: SignIn) -> Generator[httpx.Request, httpx.Response, SignIn]:
        with self._saved.locked():
            kept = self._kept()
            if kept.access_token != old.access_token:
                return kept  # Another process has already renewed it.
            response = yield httpx.Request(
                "POST",
                f"{self._url}/v1/token/refresh",
                json={"refresh_token": kept.refresh_token},
                extensions={"timeout": httpx.Timeout(LOCK_SECONDS / 2).as_dict()},
            )
            response.read()
            if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.UNPROCESSABLE_ENTITY):
                self._saved.forget(self._url)
                raise SignedOut(f"The session of {kept.username!r} has expired. {SIGN_IN_AGAIN}")
            if not response.is_success:
                raise error_of(response)
            renewed = kept.with_tokens(response.json())
            self._saved.renew(renewed)
            return renewed

    def _kept(self) -> SignIn:
        sign_in = self._saved.find(self._url)
        if sign_in is None:
            raise SignedOut(f"You are not signed in at {self._url}. {SIGN_IN_AGAIN}")
        return sign_in


def _required_validity_seconds(request: httpx.Request, sign_in: SignIn) -> float:
    """Return how long a token must stay valid; sending a large body takes a while."""
    is_large = int(request.headers.get("Content-Length", 0)) > 1024 * 1024
    return max(MARGIN_SECONDS, sign_in.lifetime_seconds / 2) if is_large else MARGIN_SECONDS
