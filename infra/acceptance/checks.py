"""Sequential checks of a running system, each with one line of output.

Signs in with `RAYON_API_KEY`, else as `RAYON_ADMIN_USERNAME` with `RAYON_ADMIN_PASSWORD`.
"""

import os
import ssl
import time
from collections.abc import Callable, Mapping

import httpx

from rayon import Rayon, RayonError

#: Returns its finding as a short sentence; raises `Wrong` or the error that occurred.
Check = Callable[[], str]


class Wrong(Exception):
    """Unexpected answer of the system; the message names what was expected."""


def run(checks: Mapping[str, Check]) -> int:
    """Run all checks, even after a failure, and return the exit code."""
    failed = 0
    for name, check in checks.items():
        started = time.perf_counter()
        try:
            mark, said = "ok", check()
        except (Wrong, RayonError, httpx.HTTPError, KeyError) as error:
            mark, said = "FAILED", f"{type(error).__name__}: {error}"
            failed += 1
        print(f"{mark:<7}{name:<12}{time.perf_counter() - started:6.1f} s   {said}", flush=True)
    print(f"{len(checks) - failed} of {len(checks)} checks passed")
    return 1 if failed else 0


def signed_in(url: str) -> Rayon:
    """Return a signed-in client, or exit with a one-line message."""
    if os.environ.get("RAYON_API_KEY"):
        return Rayon(url)
    password = os.environ.get("RAYON_ADMIN_PASSWORD")
    if not password:
        raise SystemExit("Set RAYON_API_KEY, or RAYON_ADMIN_PASSWORD to the first account's.")
    form = {"username": os.environ.get("RAYON_ADMIN_USERNAME", "admin"), "password": password}
    try:
        answer = httpx.post(
            f"{url}/v1/token", data=form, timeout=30, verify=ssl.create_default_context()
        )
    except httpx.HTTPError as error:
        raise SystemExit(f"{url} does not answer: {error}") from None
    if answer.status_code != 200:
        raise SystemExit(f"Cannot sign in as {form['username']}: {answer.text}")
    return Rayon(url, token=answer.json()["access_token"])


def expect(condition: bool, sentence: str) -> None:
    """Raise `Wrong` unless the condition holds."""
    if not condition:
        raise Wrong(sentence)
