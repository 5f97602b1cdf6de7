"""Commands `rayon login`, `rayon logout` and `rayon whoami`."""

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
    username: Annotated[
        str | None, Option("--username", "-u", help="Account name. Prompts for it by default.")
    ] = None,
    password_stdin: Annotated[
        bool, Option("--password-stdin", help="Read the password or API key from stdin.")
    ] = False,
    api_key: Annotated[
        bool, Option("--api-key", help="Sign in with an API key instead of a password.")
    ] = False,
) -> None:
    """Sign in; later commands use the same address and account.

    The password is entered without echo and never stored. Access tokens are stored in a file that
    only you can read. Scripts can set RAYON_URL and RAYON_API_KEY instead of signing in.
    """
    saved, screen = SavedSignIns(), Screen()
    where = address(url or saved.latest_url())
    if not _is_private(where):
        screen.say(
            f"Warning: the connection to {where} is not encrypted; others may read what you send."
        )
    if api_key:
        new = sign_in_with_key(where, _secret("API key", password_stdin), saved)
    else:
        name = username or _prompted("Username")
        new = sign_in(where, name, _secret("Password", password_stdin), saved)
    screen.answer(f"Signed in at {where} as {new.username}.")


def logout(url: Url = None) -> None:
    """End the session and delete the saved tokens or API key."""
    saved, screen = SavedSignIns(), Screen()
    where = address(url or saved.latest_url())
    sign_in = saved.find(where)
    if sign_in is None:
        screen.answer(f"You are not signed in at {where}.")
        return
    if not sign_in.api_key:
        _end_session(where, screen)
    saved.forget(where)
    screen.answer(f"Signed out of {where}.")


def whoami(url: Url = None, as_json: AsJson = False) -> None:
    """Show the signed-in account and the address of the service."""
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
        pass  # The session had already ended.
    except RayonError as error:
        screen.say(f"{error} The session on the service expires by itself.")


def _secret(what: str, from_stdin: bool) -> str:
    secret = sys.stdin.readline().rstrip("\r\n") if from_stdin else _prompted(what, hidden=True)
    if not secret:
        raise BadParameter(f"Expected the {what.lower()}. Received an empty line.")
    return secret


def _prompted(what: str, *, hidden: bool = False) -> str:
    if not is_terminal():
        option = "--password-stdin" if hidden else "--username"
        raise BadParameter(f"There is no terminal to prompt for the {what.lower()}; use {option}.")
    return str(prompt(what, hide_input=hidden, err=True))


def is_terminal() -> bool:
    """Return True if stdin is a terminal, so that the user can be prompted."""
    return sys.stdin.isatty()


def _is_private(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_this_machine = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_this_machine = host == "localhost"
    return parts.scheme == "https" or is_this_machine
