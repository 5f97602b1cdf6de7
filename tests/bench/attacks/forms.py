"""Forms and texts in foreign charsets: stalls before sign-in, and failures of other users' jobs."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx

from tests.bench.attacks.figure import Figure
from tests.bench.attacks.target import Target

ATTACKER = "127.0.0.20"
BOUNDARY = "x"
#: Bytes of the field that is decoded in quadratic time.
PUNYCODE_BYTES = 100_000
STALL_SECONDS = 0.5
#: Clients that submit titles while surrogates arrive, and for how long.
INNOCENTS, SECONDS = 4, 6.0


def stalls(target: Target) -> list[Figure]:
    """Send forms that cost quadratic time, without a token."""
    return [
        Figure(
            "2",
            f"stall of GET /livez by one 100 kB punycode form to {path}, not signed in",
            _stall(target, path),
            "s",
            STALL_SECONDS,
            "test_form_in_another_charset_is_refused_before_its_body_is_read",
        )
        for path in ("/v1/jobs", "/v1/token")
    ]


def surrogates(target: Target) -> list[Figure]:
    """Send titles and JSON that cannot be stored."""
    innocents = [target.account(f"innocent{number}") for number in range(INNOCENTS)]
    with target.account("surrogate", address=ATTACKER) as attacker:
        failed, sent = _failures_of(innocents, attacker)
        statuses = list(_foreign_statuses(target, attacker))
    for client in innocents:
        client.close()
    server_errors = sum(status >= 500 for status in statuses)
    return [
        Figure(
            "3",
            "other users' jobs refused with 5xx while titles with lone surrogates arrive",
            failed,
            "jobs",
            0,
            "test_failure_of_one_job_of_a_group_leaves_the_others",
            f"{sent} jobs",
        ),
        Figure(
            "3",
            "5xx to lone surrogates in JSON and to forms in foreign charsets",
            server_errors,
            "answers",
            0,
            "test_lone_surrogates_are_422",
            f"{len(statuses)} requests, {statuses}",
        ),
    ]


def form(content: bytes, name: str = "designation", file: bool = False) -> bytes:
    """Return the body of a form with one part."""
    kind = '; filename="p.csv"' if file else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{kind}\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def content_type(charset: str) -> dict[str, str]:
    """Return the header of a form in a charset."""
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}; charset={charset}"}


def _stall(target: Target, path: str) -> float:
    # Each digit inserts a wide character into the middle of the text before it.
    wide = "\U00010000".encode("punycode")
    body = form(wide + b"b" * (PUNYCODE_BYTES - len(wide)))
    with (
        target.http(timeout=30) as other,
        waits_of(other, "/livez") as waits,
        target.http(ATTACKER) as http,
        suppress(httpx.HTTPError),
    ):
        http.post(path, content=body, headers=content_type("punycode"))
    return max(waits)


@contextmanager
def waits_of(client: httpx.Client, path: str, interval: float = 0.05) -> Iterator[list[float]]:
    """Collect the response times of a client's requests during the block."""
    waits: list[float] = []
    done = threading.Event()

    def ask() -> None:
        while True:
            started = time.monotonic()
            with suppress(httpx.HTTPError):
                client.get(path)
            waits.append(time.monotonic() - started)
            if done.wait(interval):
                return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        done.set()
        thread.join()


def _failures_of(innocents: list[httpx.Client], attacker: httpx.Client) -> tuple[int, int]:
    """Return the 5xx that innocent users got, and the jobs that they sent."""
    deadline = time.monotonic() + SECONDS

    def submit(client: httpx.Client) -> list[int]:
        return _repeat(
            deadline,
            lambda: client.post("/v1/jobs", data={"designation": "Coussin", "model": "text"}),
        )

    def attack(_: int) -> list[int]:
        body = form(b"\\ud800")
        headers = content_type("unicode_escape")
        return _repeat(deadline, lambda: attacker.post("/v1/jobs", content=body, headers=headers))

    with ThreadPoolExecutor(INNOCENTS * 2) as pool:
        pending = pool.map(attack, range(INNOCENTS))
        statuses = [status for found in pool.map(submit, innocents) for status in found]
        list(pending)
    return sum(status >= 500 for status in statuses), len(statuses)


def _repeat(deadline: float, request: Callable[[], httpx.Response]) -> list[int]:
    statuses = []
    while time.monotonic() < deadline:
        try:
            statuses.append(request().status_code)
        except httpx.HTTPError:
            statuses.append(599)
    return statuses


def _foreign_statuses(target: Target, client: httpx.Client) -> Iterator[int]:
    """Send lone surrogates and foreign charsets; yield the statuses, 0 for a closed connection."""
    lone = {"Content-Type": "application/json"}
    bodies = (
        ("POST", "/v1/token/refresh", {"refresh_token": "\ud800"}),
        ("POST", "/v1/password", {"code": "\ud800", "new_password": "\ud800" * 10}),
        ("PUT", "/v1/me/password", {"current_password": "\ud800", "new_password": "\ud800" * 10}),
        ("POST", "/v1/api-keys", {"name": "\ud800", "scopes": ["jobs:read"]}),
    )
    for method, path, fields in bodies:
        # ASCII escapes are how a lone surrogate travels.
        yield _status(target, client, (method, path), json.dumps(fields).encode(), lone)
    with target.admin() as admin:
        for path in ("/v1/catalogs", "/v1/datasets"):
            body = form(b"designation\nx\n", "products", file=True)
            yield _status(target, admin, ("POST", path), body, content_type("undefined"))


def _status(
    target: Target,
    client: httpx.Client,
    request: tuple[str, str],
    body: bytes,
    headers: dict[str, str],
) -> int:
    # On a connection of its own, because the server closes that of a failed request.
    bearer = {"Authorization": client.headers["Authorization"]}
    with suppress(httpx.HTTPError), target.http(ATTACKER, headers=bearer) as http:
        return http.request(*request, content=body, headers=headers).status_code
    return 0
