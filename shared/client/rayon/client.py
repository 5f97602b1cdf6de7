"""Client for classifying a single product or a catalog.

Methods import the modules that they need, so that a short command does not load all of them.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx

from rayon.answers import (
    Account,
    Answer,
    Category,
    Explanation,
    Job,
    JobStatus,
    JsonObject,
    ModelName,
    Release,
    Report,
)
from rayon.connection import Connection, OnPause
from rayon.errors import Failed, RayonError, SignedOut, Unfinished
from rayon.headers import once
from rayon.sign_in import SIGN_IN_AGAIN, ApiKey, Bearer, Saved, SavedSignIns

if TYPE_CHECKING:
    from rayon.catalogs import Catalog, OnProgress
    from rayon.datasets import Datasets
    from rayon.operations import DeadLetter, Queues, Review
    from rayon.training import Training
    from rayon.uploads import SentCatalogs

#: Address at which `make run` starts the service.
DEFAULT_URL = "http://127.0.0.1:8000"
#: Longest time that the service holds one request open.
LONGEST_WAIT_SECONDS = 30.0
#: Items per page of a list.
PAGE = 200

Image = str | Path | bytes | IO[bytes]


class Rayon:
    """Connection to the service. Use it as a context manager or call `close`.

    Args:
        url: Address of the service. Defaults to `RAYON_URL`, then to the address of the latest
            `rayon login`.
        key: API key. Defaults to `RAYON_API_KEY`, then to the sign-in saved by `rayon login`.
        token: Access token to use instead of a key. The caller renews it.
        patience_seconds: How long to retry a repeatable request while the service does not
            answer or is busy.
        on_pause: Called before each pause with its length in seconds and the error.
        saved: Store of sign-ins. Defaults to the file in the user's configuration folder.
        sent: Record of the files that were already sent and their catalogs.

    Example:
        with Rayon("https://rayon.example.com", key) as rayon:
            rayon.classify("Piscine gonflable ronde", image="piscine.jpg").category
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        token: str | None = None,
        patience_seconds: float = 120.0,
        on_pause: OnPause | None = None,
        saved: SavedSignIns | None = None,
        sent: SentCatalogs | None = None,
    ) -> None:
        saved = saved or SavedSignIns()
        self.url = address(url or os.environ.get("RAYON_URL") or saved.latest_url())
        self._sent = sent
        self._connection = Connection(
            self.url,
            credentials(self.url, key, token, saved),
            patience_seconds,
            on_pause or (lambda _seconds, _error: None),
        )

    def __enter__(self) -> Rayon:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the network connections."""
        self._connection.close()

    @cached_property
    def datasets(self) -> Datasets:
        """Labelled products for training."""
        from rayon.datasets import Datasets

        return Datasets(self._connection)

    @cached_property
    def training(self) -> Training:
        """Training runs."""
        from rayon.training import Training

        return Training(self._connection)

    def classify(
        self,
        title: str = "",
        description: str = "",
        image: Image | None = None,
        *,
        model: ModelName = "fusion",
        release: str = "champion",
        wait_seconds: float = 60.0,
    ) -> Answer:
        """Send a product and wait for its category.

        Raises:
            Failed: The job ended without an answer, for example because its only image is
                unreadable.
            Unfinished: No answer arrived within `wait_seconds`. The job continues.
        """
        job = self.submit(
            title,
            description,
            image,
            model=model,
            release=release,
            wait_seconds=wait_seconds,
        )
        if job.answer is not None:
            return job.answer
        if not job.is_final:
            raise Unfinished(f"No answer within {wait_seconds:g} s.", job_id=job.id)
        code, message = (job.error.code, job.error.message) if job.error else (job.status, "")
        raise Failed(message or f"The job was {job.status}.", job_id=job.id, code=code)

    def submit(
        self,
        title: str = "",
        description: str = "",
        image: Image | None = None,
        *,
        model: ModelName = "fusion",
        release: str = "champion",
        wait_seconds: float = 0.0,
    ) -> Job:
        """Send a product and return its job, by default without waiting for the answer.

        Args:
            title: The product's title.
            description: The product's description.
            image: Path, bytes, or file opened in binary mode.
            model: Model to classify with.
            release: Alias or version of the release.
            wait_seconds: Longest time to wait until the job is final.
        """
        deadline = time.monotonic() + wait_seconds
        form = {
            "designation": title,
            "description": description,
            "model": model,
            "release": release,
        }
        with ExitStack() as opened:
            files = {"image": _image(image, opened)} if image is not None else None
            headers = once() | _preferred(wait_seconds)
            job = Job.read(
                self._connection.json("POST", "/v1/jobs", data=form, files=files, headers=headers)
            )
        return self.wait(job, deadline - time.monotonic())

    def wait(self, job: Job, seconds: float) -> Job:
        """Wait until a job is final, for at most `seconds`, and return its latest state."""
        deadline = time.monotonic() + seconds
        while not job.is_final and (left := deadline - time.monotonic()) > 0:
            asked = time.monotonic()
            job = self.job(job.id, wait_seconds=min(left, LONGEST_WAIT_SECONDS))
            if not job.is_final and time.monotonic() - asked < 1:
                time.sleep(0.2)  # A stopping service answers at once.
        return job

    def job(self, job_id: str, *, wait_seconds: float = 0) -> Job:
        """Return a job; with `wait_seconds` (up to 30), wait for it to become final first."""
        query = {"wait": round(wait_seconds, 3)} if wait_seconds else {}
        return Job.read(
            self._connection.json("GET", f"/v1/jobs/{quote(job_id, safe='')}", params=query)
        )

    def jobs(self, *, status: JobStatus | None = None, catalog: str | None = None) -> Iterator[Job]:
        """Iterate over your own jobs, newest first, fetching page by page."""
        query = {"status": status, "catalog": catalog}
        for body in self._pages("/v1/jobs", query):
            yield Job.read(body)

    def explain(self, job_id: str, *, wait_seconds: float = 30) -> Explanation:
        """Return which words and which parts of the image spoke for the answer to a job.

        The service computes it at the first call. It is `queued` if that takes longer than
        `wait_seconds`.
        """
        path = f"/v1/jobs/{quote(job_id, safe='')}/explanation"
        deadline = time.monotonic() + wait_seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            query = {"wait": round(min(left, LONGEST_WAIT_SECONDS), 3)}
            found = Explanation.read(self._connection.json("GET", path, params=query))
            if found.status != "queued" or not left:
                return found
            time.sleep(min(0.2, left))  # A stopping service answers at once.

    def cancel(self, job_id: str) -> Job:
        """Cancel a job. A job that is final stays unchanged."""
        return Job.read(self._connection.json("DELETE", f"/v1/jobs/{quote(job_id, safe='')}"))

    def label(
        self, job_id: str, prdtypecode: int | str | None, *, new_category: bool = False
    ) -> Job:
        """Record a job's true category by its code or name; `None` removes the label.

        Args:
            job_id: The answered job.
            prdtypecode: Code or name of the category.
            new_category: Accept a code that the release does not have yet. Requires the operator
                role.
        """
        path = f"/v1/jobs/{quote(job_id, safe='')}/label"
        field = "category" if isinstance(prdtypecode, str) else "prdtypecode"
        body = {field: prdtypecode, **({"new_category": True} if new_category else {})}
        return Job.read(self._connection.json("PUT", path, json=body))

    def catalog(
        self,
        products: str | Path,
        images: str | Path | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        model: ModelName = "fusion",
        release: str = "champion",
        dry_run: bool = False,
        again: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Catalog:
        """Send many products in one file. Sending the same files again returns the same catalog.

        Args:
            products: CSV, JSON, JSON Lines, Excel or OpenDocument file, which may be compressed
                by gzip or ZIP.
            images: ZIP file with the images of the products.
            columns: Column of `designation`, `description` or `image` where its name is unusual.
            model: Model to classify with.
            release: Alias or version of the release.
            dry_run: Check the rows without classifying them.
            again: Create a new catalog even if these files were sent before.
            on_progress: Called with the progress while the files are read and sent.
        """
        from rayon.uploads import Upload, send_again, send_once

        files = {"products": Path(products)}
        if images is not None:
            files["images"] = Path(images)
        options = {"model": model, "release": release, "dry_run": str(dry_run).lower()}
        if columns:
            # Only if stated, so that the key of files sent by earlier versions stays the same.
            options["columns"] = json.dumps(dict(sorted(columns.items())), ensure_ascii=False)
        send = send_again if again else send_once
        return send(self._connection, Upload(files, options, on_progress), self._sent)

    def find_catalog(self, catalog_id: str) -> Catalog:
        """Return a catalog by its ID."""
        from rayon import catalogs

        return catalogs.find(self._connection, quote(catalog_id, safe=""))

    def catalogs(self) -> Iterator[Catalog]:
        """Iterate over your own catalogs, newest first, fetching page by page."""
        from rayon import catalogs

        for body in self._pages("/v1/catalogs", {}):
            yield catalogs.read(self._connection, body)

    def categories(self, release: str = "champion") -> list[Category]:
        """Return the categories that a release can predict."""
        body = self._connection.json("GET", "/v1/categories", params={"release": release})
        return [Category(one["prdtypecode"], one["category"]) for one in body["items"]]

    def releases(self) -> list[Release]:
        """Return the releases of the models, newest first."""
        return [Release.read(one) for one in self._connection.json("GET", "/v1/releases")["items"]]

    def release(self, version: str) -> Release:
        """Return a release by version or alias."""
        path = f"/v1/releases/{quote(version, safe='')}"
        return Release.read(self._connection.json("GET", path))

    def promote(self, version: str, reason: str) -> Release:
        """Make a release, by version or alias, the champion; for admins.

        The answer comes once new jobs get the release, which takes some seconds; `is_serving` is
        False if they do not.
        """
        path = f"/v1/releases/{quote(version, safe='')}/promote"
        return Release.read(self._connection.json("POST", path, json={"reason": reason}))

    def roll_back(self, reason: str) -> Release:
        """Promote the previous champion again and return it; for admins."""
        body = self._connection.json("POST", "/v1/releases/rollback", json={"reason": reason})
        return Release.read(body)

    def queues(self) -> Queues:
        """Return the queues and workers. Requires the operator role."""
        from rayon.operations import Queues

        return Queues.read(self._connection.json("GET", "/v1/queues"))

    def dead_letters(self, *, topic: str | None = None) -> Iterator[DeadLetter]:
        """Iterate over the dead letters, newest first. Requires the operator role."""
        from rayon.operations import DeadLetter

        for body in self._pages("/v1/dead-letters", {"topic": topic}):
            yield DeadLetter.read(body)

    def dead_letter(self, letter_id: str) -> DeadLetter:
        """Return a dead letter with the current status of its jobs."""
        from rayon.operations import DeadLetter

        return DeadLetter.read(self._connection.json("GET", _letter_path(letter_id)))

    def replay(self, letter_id: str) -> None:
        """Send a dead letter again and requeue its failed jobs."""
        self._connection.send("POST", f"{_letter_path(letter_id)}/replay")

    def discard(self, letter_id: str) -> None:
        """Delete a dead letter without sending it again."""
        self._connection.send("DELETE", _letter_path(letter_id))

    def reviews(
        self, *, labelled: bool | None = None, reason: str | None = None
    ) -> Iterator[Review]:
        """Iterate over the answers selected for human review. Requires the operator role."""
        from rayon.operations import Review

        query = {
            "labelled": None if labelled is None else str(labelled).lower(),
            "reason": reason,
        }
        for body in self._pages("/v1/reviews", query):
            yield Review.read(body)

    def review_image(self, job_id: str, to: str | Path) -> Path:
        """Write the image of a review to a file."""
        self._connection.download(f"/v1/reviews/{quote(job_id, safe='')}/image", Path(to))
        return Path(to)

    def review_picture(self, job_id: str, to: str | Path) -> Path:
        """Call `review_image`, the current name of this deprecated method."""
        warnings.warn("Use `review_image`.", DeprecationWarning, stacklevel=2)
        return self.review_image(job_id, to)

    def reports(self) -> list[Report]:
        """Return the months with a report and their verdicts, newest first; for operators."""
        return [Report.read(one) for one in self._connection.json("GET", "/v1/reports")["items"]]

    def report(self, month: str) -> Report:
        """Return the report of a month, such as `2026-11`."""
        return Report.read(self._connection.json("GET", f"/v1/reports/{quote(month, safe='')}"))

    def download_report(self, month: str, to: str | Path) -> None:
        """Write the report of a month as one self-contained HTML page."""
        path = f"/v1/reports/{quote(month, safe='')}?format=html"
        self._connection.download(path, Path(to))

    def request_report(self, month: str) -> None:
        """Start generating a month's report, replacing an existing one; it takes a moment."""
        self._connection.json("POST", "/v1/reports", json={"month": month})

    def whoami(self) -> Account:
        """Return the signed-in account."""
        body = self._connection.json("GET", "/v1/me")
        return Account(body["username"], body["role"], body)

    def trust_labels(self, username: str, *, trusted: bool = True) -> Account:
        """Decide if the labels of an account may train, earlier ones too; for admins."""
        path = f"/v1/users/{quote(username, safe='')}"
        body = self._connection.json("PATCH", path, json={"labels_trusted": trusted})
        return Account(body["username"], body["role"], body)

    def change_password(self, current: str, new: str) -> None:
        """Change your password and end all your sessions, this one included."""
        change = {"current_password": current, "new_password": new}
        self._connection.send("PUT", "/v1/me/password", json=change)

    def sign_out(self) -> None:
        """End the session immediately."""
        self._connection.send("DELETE", "/v1/token")

    def _pages(self, path: str, query: dict[str, Any]) -> Iterator[JsonObject]:
        query = {name: value for name, value in query.items() if value is not None}
        cursor: dict[str, str] = {}
        while True:
            page = self._connection.json("GET", path, params=query | cursor | {"limit": PAGE})
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            cursor = {"cursor": page["next_cursor"]}


def address(url: str | None) -> str:
    """Return the normalized URL; raise `RayonError` if it is not an HTTP or HTTPS URL."""
    url = (url or DEFAULT_URL).strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RayonError(f"Expected a URL such as {DEFAULT_URL}. Received: {url!r}")
    return url


def credentials(url: str, key: str | None, token: str | None, saved: SavedSignIns) -> httpx.Auth:
    """Return the credentials: arguments first, then the environment, then the saved sign-in."""
    if token:
        return Bearer(token)
    if key or (key := os.environ.get("RAYON_API_KEY")):
        return ApiKey(key)
    sign_in = saved.find(url)
    if sign_in is None:
        raise SignedOut(f"You are not signed in at {url}. {SIGN_IN_AGAIN}")
    return ApiKey(sign_in.api_key) if sign_in.api_key else Saved(saved, url)


def _letter_path(letter_id: str) -> str:
    return f"/v1/dead-letters/{quote(letter_id, safe='')}"


def _preferred(wait_seconds: float) -> dict[str, str]:
    """Return the header that asks for the answer in the response to the submission."""
    seconds = round(min(wait_seconds, LONGEST_WAIT_SECONDS), 3)
    return {"Prefer": f"wait={seconds:g}"} if seconds > 0 else {}


def _image(image: Image, opened: ExitStack) -> tuple[str, IO[bytes] | bytes]:
    """Return a file name and its content; a file is read only while it is sent."""
    if isinstance(image, str | Path):
        return Path(image).name, opened.enter_context(Path(image).open("rb"))
    if isinstance(image, bytes):
        return "image", image
    # A pipe can be read only once, but a retry has to send it again.
    return "image", image if image.seekable() else image.read()
