"""Honest clients: a steady trickle of jobs, some with images, and small catalogs."""

import csv
import io
import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from tests.bench.attacks.honest import photo

#: Seconds between two jobs, and the jobs of which one has an image.
INTERVAL_SECONDS, IMAGE_EVERY = 0.4, 6
CATALOG_ROWS = 12
#: A submission without a response after this time is unanswered; it is sent again after the fault.
PATIENCE_SECONDS = 30.0
#: Submissions that wait at the same time.
WAITING = 128
SCOPES = ["jobs:write", "jobs:read", "catalogs:write", "catalogs:read"]
TITLE = "Piscine gonflable ronde"
#: Status of a submission without a response.
UNANSWERED = 0


@dataclass(frozen=True)
class Submission:
    """A job or catalog that a client has sent.

    Attributes:
        titles: The unique title of the job, or those of the rows of the catalog.
        key: Idempotency key.
        image: Its image, for a job with an image.
        due: Monotonic time when it was due.
        status: Status of the response; 0 without one.
        seconds: Time from when it was due to the response.
        id: Identifier in the response.
        was_unanswered: True if it was sent again after no response.
    """

    titles: tuple[str, ...]
    key: str
    due: float
    image: bytes | None = None
    status: int = UNANSWERED
    seconds: float = 0.0
    id: str = ""
    was_unanswered: bool = False

    @property
    def is_catalog(self) -> bool:
        """True for a catalog."""
        return len(self.titles) > 1

    @property
    def is_accepted(self) -> bool:
        """True if the response is 202."""
        return self.status == 202


@dataclass
class Traffic:
    """Clients of one system.

    Attributes:
        http: Client with an API key.
        sent: All submissions, in the order of their responses.
    """

    http: httpx.Client
    sent: list[Submission] = field(default_factory=list)
    _waiting: set[Submission] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def between(self, since: float, until: float) -> list[Submission]:
        """Return the submissions that were due between two monotonic times."""
        return [one for one in list(self.sent) if since <= one.due < until]

    def is_waiting(self, until: float) -> bool:
        """Return True while a submission that was due before this time has no response."""
        return any(one.due < until for one in list(self._waiting))

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Send jobs during the block, then wait for all responses."""
        done = threading.Event()
        with ThreadPoolExecutor(WAITING) as pool:
            sender = threading.Thread(target=self._send_all, args=(pool, done))
            sender.start()
            try:
                yield
            finally:
                done.set()
                sender.join()

    def job(self, has_image: bool = False) -> Submission:
        """Send a job now."""
        return self._send(self._new(1, time.monotonic(), photo() if has_image else None))

    def catalog(self) -> Submission:
        """Send a catalog now."""
        return self._send(self._new(CATALOG_ROWS, time.monotonic()))

    def send_again(self, one: Submission) -> Submission:
        """Send an unanswered submission with the same key, and record the response instead."""
        again = replace(self._response(one), was_unanswered=True)
        self.sent[self.sent.index(one)] = again
        return again

    def _send_all(self, pool: ThreadPoolExecutor, done: threading.Event) -> None:
        # The clock decides when a job is due, so that a stall delays the jobs after it too.
        due = time.monotonic()
        for number in itertools.count():
            image = photo() if number % IMAGE_EVERY == 0 else None
            pool.submit(self._send, self._new(1, due, image))
            due += INTERVAL_SECONDS
            if done.wait(max(0.0, due - time.monotonic())):
                return

    def _new(self, rows: int, due: float, image: bytes | None = None) -> Submission:
        titles = tuple(f"{TITLE} {next(self._numbers)}" for _ in range(rows))
        return Submission(titles, uuid.uuid4().hex, due, image)

    def _send(self, one: Submission) -> Submission:
        self._waiting.add(one)
        answered = self._response(one)
        self.sent.append(answered)
        self._waiting.discard(one)
        return answered

    def _response(self, one: Submission) -> Submission:
        path, parts = _request(one)
        try:
            response = self.http.post(path, headers={"Idempotency-Key": one.key}, **parts)
            status, body = response.status_code, response.json()
        except (httpx.HTTPError, ValueError):
            status, body = UNANSWERED, {}
        seconds = time.monotonic() - one.due
        return replace(one, status=status, seconds=seconds, id=str(body.get("id", "")))


def traffic_of(address: str, admin: httpx.Client) -> Traffic:
    """Return clients that use a new API key of the first account."""
    made = admin.post("/v1/api-keys", json={"name": "night", "scopes": SCOPES})
    made.raise_for_status()
    # A kept connection may end with the gateway between two requests, which is no loss.
    limits = httpx.Limits(max_connections=2 * WAITING, max_keepalive_connections=0)
    return Traffic(
        httpx.Client(
            base_url=address,
            headers={"X-API-Key": made.json()["key"]},
            timeout=PATIENCE_SECONDS,
            limits=limits,
            trust_env=False,
        )
    )


def _request(one: Submission) -> tuple[str, dict[str, Any]]:
    if one.is_catalog:
        return "/v1/catalogs", {"files": {"products": ("p.csv", _table(one.titles))}}
    form = {"designation": one.titles[0], "model": "fusion" if one.image else "text"}
    files = {"image": ("p.jpg", one.image, "image/jpeg")} if one.image else None
    return "/v1/jobs", {"data": form, "files": files}


def _table(titles: tuple[str, ...]) -> bytes:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["designation", "description", "image"])
    writer.writerows([title, "", ""] for title in titles)
    return table.getvalue().encode()
