"""Command `rayon password`: change the password, or choose one with a one-time code."""

import sys
from typing import Annotated

from typer import BadParameter, Option, prompt

from rayon.cli import accounts
from rayon.cli.options import Url, connected
from rayon.cli.screen import Screen
from rayon.client import address
from rayon.errors import SignedOut
from rayon.sessions import choose_password, sign_in
from rayon.sign_in import SIGN_IN_AGAIN, SavedSignIns


def password(
    code: Annotated[
        bool, Option("--code", help="Prompt for a one-time code instead of the current password.")
    ] = False,
    stdin: Annotated[
        bool,
        Option(
            "--stdin",
            help="Read two lines from stdin: the current password or the code, and the new one.",
        ),
    ] = False,
    url: Url = None,
) -> None:
    """Change your password, or choose one with the one-time code of an admin.

    All sessions of the account end; API keys stay valid.
    """
    saved, screen = SavedSignIns(), Screen()
    where = address(url or saved.latest_url())
    first, new = _entered("One-time code" if code else "Current password", stdin)
    if code:
        choose_password(where, first, new)
        screen.answer(f"The password is set. Sign in: rayon login --url {where}")
        return
    known = saved.find(where)
    if known is None or known.api_key:
        raise SignedOut(f"You are not signed in with a password at {where}. {SIGN_IN_AGAIN}")
    with connected(where, screen) as client:
        client.change_password(first, new)
    # The change has ended the session of this command too.
    sign_in(where, known.username, new, saved)
    screen.answer(f"The password of {known.username} is changed. Other sessions have ended.")


def _entered(first: str, from_stdin: bool) -> tuple[str, str]:
    """Return the code or current password, and the new password."""
    if from_stdin:
        entered = [sys.stdin.readline().rstrip("\r\n") for _ in range(2)]
    elif accounts.is_terminal():
        entered = [
            prompt(first, hide_input=first != "One-time code", err=True),
            prompt("New password", hide_input=True, confirmation_prompt=True, err=True),
        ]
    else:
        raise BadParameter("There is no terminal to prompt for passwords; use --stdin.")
    if not all(entered):
        raise BadParameter(f"Expected the {first.lower()} and a new password. Received: a blank")
    return entered[0].strip() if first == "One-time code" else entered[0], entered[1]
