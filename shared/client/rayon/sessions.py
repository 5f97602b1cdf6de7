"""Sign-in with a password or an API key; the resulting credentials are saved."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from rayon.connection import Connection
from rayon.sign_in import ApiKey, SavedSignIns, SignIn

#: Cookie of a device on which a user has signed in before.
DEVICE = "rayon_device"


def sign_in(url: str, username: str, password: str, saved: SavedSignIns) -> SignIn:
    """Start a session and save its tokens; the password is not saved.

    The cookie of the device is saved too. With it, the user can sign in while the service refuses
    the address because of others' failures.

    Raises:
        SignedOut: The username or password is wrong.
    """
    form = {"username": username, "password": password}
    known = saved.device(url, username)
    headers = {"Cookie": f"{DEVICE}={known}"} if known else {}
    with _connection(url, None) as connection:
        body = connection.json("POST", "/v1/token", data=form, headers=headers)
        device = connection.cookie(DEVICE)
    new = SignIn(url, username).with_tokens(body)
    saved.save(new, device)
    return new


def sign_in_with_key(url: str, key: str, saved: SavedSignIns) -> SignIn:
    """Check an API key and save it.

    Raises:
        SignedOut: The key is invalid or no longer valid.
    """
    with _connection(url, ApiKey(key)) as connection:
        body = connection.json("GET", "/v1/me")
    new = SignIn(url, body["username"], api_key=key)
    saved.save(new)
    return new


def choose_password(url: str, code: str, new: str) -> None:
    """Choose a password with a one-time code, and end all sessions of the account.

    Raises:
        Refused: The code is unknown, used or expired, or the password is refused.
    """
    with _connection(url, None) as connection:
        connection.send("POST", "/v1/password", json={"code": code, "new_password": new})


@contextmanager
def _connection(url: str, auth: httpx.Auth | None) -> Iterator[Connection]:
    connection = Connection(url, auth, 0, lambda _seconds, _error: None)
    try:
        yield connection
    finally:
        connection.close()
