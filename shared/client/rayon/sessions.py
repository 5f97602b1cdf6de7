"""Signing in: trade a password for tokens, or check an API key, and save what opens the service."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from rayon.connection import Connection
from rayon.sign_in import ApiKey, SavedSignIns, SignIn


def sign_in(url: str, username: str, password: str, saved: SavedSignIns) -> SignIn:
    """Start a session and save its tokens; the password is not kept.

    Raises:
        SignedOut: The username or the password is not right.
    """
    form = {"username": username, "password": password}
    with _connection(url, None) as connection:
        said = connection.json("POST", "/v1/token", data=form)
    new = SignIn(url, username).with_tokens(said)
    saved.save(new)
    return new


def sign_in_with_key(url: str, key: str, saved: SavedSignIns) -> SignIn:
    """Check an API key and save it.

    Raises:
        SignedOut: The key is not valid (any more).
    """
    with _connection(url, ApiKey(key)) as connection:
        said = connection.json("GET", "/v1/me")
    new = SignIn(url, said["username"], api_key=key)
    saved.save(new)
    return new


@contextmanager
def _connection(url: str, auth: httpx.Auth | None) -> Iterator[Connection]:
    connection = Connection(url, auth, 0, lambda _seconds, _error: None)
    try:
        yield connection
    finally:
        connection.close()
