"""`rayon login`, `logout`, `whoami`."""

import ipaddress
import sys
from typing import Annotated
from urllib.parse import urlsplit

from typer import BadParameter, Option, prompt

from rayon.cli.options import AsJson, Url, connected
from rayon.cli.screen import Screen
from rayon.client import address
from rayon.errors import RayonError, SignedOut
from rayon.sessions import sign_in, sign_in_with_key
from rayon.sign_in import SavedSignIns


def login(
    url: Url = None,
    username: Annotated[str | None, Option("--username", "-u", help="Else it is asked.")] = None,
    password_stdin: Annotated[
        bool, Option("--password-stdin", help="Read the password, or the key, from stdin.")
    ] = False,
    api_key: Annotated[
        bool, Option("--api-key", help="Sign in with an API key instead of a password.")
    ] = False,
) -> None:
    """Sign in; other commands then use the same address and account.

    The password is asked without showing it, and not kept: the tokens are, in a file that only you
    can read. Scripts may set RAYON_URL and RAYON_API_KEY instead, and need not sign in.
    """
    saved, screen = SavedSignIns(), Screen()
    where = address(url or saved.latest_url())
    if not _is_private(where):
        screen.say(f"Warning: {where} is not encrypted; others on the way can read what you send.")
    if api_key:
        new = sign_in_with_key(where, _secret("API key", password_stdin), saved)
    else:
        name = username or _asked("Username")
        new = sign_in(where, name, _secret("Password", password_stdin), saved)
    screen.answer(f"Signed in at {where} as {new.username}.")


def logout(url: Url = None) -> None:
    """End the session, and forget its tokens or key."""
    saved, screen = SavedSignIns(), Screen()
    where = address(url or saved.latest_url())
    sign_in = saved.find(where)
    if sign_in is None:
        screen.answer(f"Nobody is signed in at {where}.")
        return
    if not sign_in.api_key:
        _end_session(where, screen)
    saved.forget(where)
    screen.answer(f"Signed out of {where}.")


def whoami(url: Url = None, as_json: AsJson = False) -> None:
    """Say who is signed in, and where."""
    screen = Screen()
    with connected(url, screen) as client:
        account = client.whoami()
        if as_json:
            screen.json({**account.raw, "url": client.url})
        else:
            screen.answer(f"{account.username} ({account.role}) at {client.url}")


def _end_session(url: str, screen: Screen) -> None:
    try:
        with connected(url, screen) as client:
            client.sign_out()
    except SignedOut:
        pass  # It had ended before.
    except RayonError as error:
        screen.say(f"{error} The session there ends by itself.")


def _secret(what: str, from_stdin: bool) -> str:
    secret = sys.stdin.readline().rstrip("\r\n") if from_stdin else _asked(what, hidden=True)
    if not secret:
        raise BadParameter(f"Expected the {what.lower()}. Received: nothing")
    return secret


def _asked(what: str, *, hidden: bool = False) -> str:
    if not is_terminal():
        option = "--password-stdin" if hidden else "--username"
        raise BadParameter(f"There is no terminal to ask for the {what.lower()}; use {option}.")
    return str(prompt(what, hide_input=hidden, err=True))


def is_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def _is_private(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_this_machine = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_this_machine = host == "localhost"
    return parts.scheme == "https" or is_this_machine
