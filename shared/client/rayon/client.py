"""The client: classify a product, or a catalog of them."""

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

import httpx

from rayon import catalogs
from rayon.answers import (
    Account,
    Answer,
    Category,
    Job,
    JobStatus,
    JsonObject,
    ModelName,
    Release,
    Report,
)
from rayon.catalogs import Catalog, OnProgress
from rayon.connection import Connection, OnPause
from rayon.errors import Failed, RayonError, SignedOut, Unfinished
from rayon.headers import once
from rayon.operations import DeadLetter, Queues, Review
from rayon.sign_in import SIGN_IN_AGAIN, ApiKey, Bearer, Saved, SavedSignIns
from rayon.uploads import SentCatalogs, Upload, send_again, send_once

#: Where `make run` starts the service.
DEFAULT_URL = "http://127.0.0.1:8000"
#: The service lets a client wait at most so long in one request.
LONGEST_WAIT_SECONDS = 30.0
#: Objects in one page of a list.
PAGE = 200

Image = str | Path | bytes | IO[bytes]


class Rayon:
    """A connection to the service; use it as a context manager, or `close` it.

    Args:
        url: The address; else `RAYON_URL`, else where `rayon login` signed in.
        key: An API key; else `RAYON_API_KEY`, else what `rayon login` saved.
        token: An access token that you keep fresh, instead of a key.
        patience_seconds: How long requests that may be repeated are, when the service does not
            answer or is busy.
        on_pause: Told before each pause, with its seconds and the reason.
        sent: Where to remember which files were sent as which catalog.

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

    def __enter__(self) -> "Rayon":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the network."""
        self._connection.close()

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
            Failed: There is no answer, for example because the only image is unreadable.
            Unfinished: Not within `wait_seconds`; the job goes on.
        """
        submitted = self.submit(title, description, image, model=model, release=release)
        job = self.wait(submitted, wait_seconds)
        if job.answer is not None:
            return job.answer
        if not job.is_final:
            raise Unfinished(f"No answer within {wait_seconds:g} s.", job_id=job.id)
        code, said = (job.error.code, job.error.message) if job.error else (job.status, "")
        raise Failed(said or f"The job was {job.status}.", job_id=job.id, code=code)

    def submit(
        self,
        title: str = "",
        description: str = "",
        image: Image | None = None,
        *,
        model: ModelName = "fusion",
        release: str = "champion",
    ) -> Job:
        """Send a product; the answer comes later.

        Args:
            title: The product's title.
            description: The product's description.
            image: A path, the image's bytes, or a file that is open in binary mode.
            model: What to classify by.
            release: An alias or a version of the models.
        """
        form = {
            "designation": title,
            "description": description,
            "model": model,
            "release": release,
        }
        with ExitStack() as opened:
            files = {"image": _image(image, opened)} if image is not None else None
            return Job.read(
                self._connection.json("POST", "/v1/jobs", data=form, files=files, headers=once())
            )

    def wait(self, job: Job, seconds: float) -> Job:
        """Wait until a job is final, or so long."""
        deadline = time.monotonic() + seconds
        while not job.is_final and (left := deadline - time.monotonic()) > 0:
            asked = time.monotonic()
            job = self.job(job.id, wait_seconds=min(left, LONGEST_WAIT_SECONDS))
            if not job.is_final and time.monotonic() - asked < 1:
                time.sleep(0.2)  # The service is about to stop, and lets nobody wait.
        return job

    def job(self, job_id: str, *, wait_seconds: float = 0) -> Job:
        """Look a job up; with `wait_seconds` (up to 30) as soon as it is final."""
        query = {"wait": round(wait_seconds, 3)} if wait_seconds else {}
        return Job.read(
            self._connection.json("GET", f"/v1/jobs/{quote(job_id, safe='')}", params=query)
        )

    def jobs(self, *, status: JobStatus | None = None, catalog: str | None = None) -> Iterator[Job]:
        """One's own jobs, newest first, page by page."""
        query = {"status": status, "catalog": catalog}
        for said in self._pages("/v1/jobs", query):
            yield Job.read(said)

    def cancel(self, job_id: str) -> Job:
        """Cancel a job; one that is final stays as it is."""
        return Job.read(self._connection.json("DELETE", f"/v1/jobs/{quote(job_id, safe='')}"))

    def label(self, job_id: str, prdtypecode: int | None) -> Job:
        """Tell a job's true category; `None` takes a wrong label back."""
        path = f"/v1/jobs/{quote(job_id, safe='')}/label"
        return Job.read(self._connection.json("PUT", path, json={"prdtypecode": prdtypecode}))

    def catalog(
        self,
        products: str | Path,
        images: str | Path | None = None,
        *,
        model: ModelName = "fusion",
        release: str = "champion",
        dry_run: bool = False,
        again: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Catalog:
        """Send many products in one file; the same files are one catalog, however often sent.

        Args:
            products: CSV, TSV or JSON Lines.
            images: A ZIP of their images.
            model: What to classify by.
            release: An alias or a version of the models.
            dry_run: Only check the rows.
            again: Make a new catalog, even if these files were sent before.
            on_progress: Told while the files are read and sent.
        """
        files = {"products": Path(products)}
        if images is not None:
            files["images"] = Path(images)
        options = {"model": model, "release": release, "dry_run": str(dry_run).lower()}
        send = send_again if again else send_once
        return send(self._connection, Upload(files, options, on_progress), self._sent)

    def find_catalog(self, catalog_id: str) -> Catalog:
        """Look a catalog up."""
        return catalogs.find(self._connection, quote(catalog_id, safe=""))

    def catalogs(self) -> Iterator[Catalog]:
        """One's own catalogs, newest first, page by page."""
        for said in self._pages("/v1/catalogs", {}):
            yield catalogs.read(self._connection, said)

    def categories(self, release: str = "champion") -> list[Category]:
        """What a release can predict."""
        said = self._connection.json("GET", "/v1/categories", params={"release": release})
        return [Category(one["prdtypecode"], one["category"]) for one in said["items"]]

    def releases(self) -> list[Release]:
        """The releases of the models, newest first."""
        return [Release.read(one) for one in self._connection.json("GET", "/v1/releases")["items"]]

    def queues(self) -> Queues:
        """What waits and what runs; for operators."""
        return Queues.read(self._connection.json("GET", "/v1/queues"))

    def dead_letters(self, *, topic: str | None = None) -> Iterator[DeadLetter]:
        """Messages that were given up, newest first, page by page; for operators."""
        for said in self._pages("/v1/dead-letters", {"topic": topic}):
            yield DeadLetter.read(said)

    def dead_letter(self, letter_id: str) -> DeadLetter:
        """A message that was given up, and what became of its jobs."""
        return DeadLetter.read(self._connection.json("GET", _letter_path(letter_id)))

    def replay(self, letter_id: str) -> None:
        """Send a dead letter again; its failed jobs are queued once more."""
        self._connection.send("POST", f"{_letter_path(letter_id)}/replay")

    def discard(self, letter_id: str) -> None:
        """Throw a dead letter away."""
        self._connection.send("DELETE", _letter_path(letter_id))

    def reviews(
        self, *, labelled: bool | None = None, reason: str | None = None
    ) -> Iterator[Review]:
        """Answers that people are asked to look at, page by page; for operators."""
        told = None if labelled is None else str(labelled).lower()
        for said in self._pages("/v1/reviews", {"labelled": told, "reason": reason}):
            yield Review.read(said)

    def review_image(self, job_id: str, to: str | Path) -> Path:
        """Write the image of a review to a file."""
        self._connection.download(f"/v1/reviews/{quote(job_id, safe='')}/image", Path(to))
        return Path(to)

    def review_picture(self, job_id: str, to: str | Path) -> Path:
        """Deprecated name of `review_image`."""
        warnings.warn("Use `review_image`.", DeprecationWarning, stacklevel=2)
        return self.review_image(job_id, to)

    def reports(self) -> list[Report]:
        """Months with a report and their verdicts, newest first; for operators."""
        return [Report.read(one) for one in self._connection.json("GET", "/v1/reports")["items"]]

    def report(self, month: str) -> Report:
        """The report of a month, such as `2026-11`."""
        return Report.read(self._connection.json("GET", f"/v1/reports/{quote(month, safe='')}"))

    def download_report(self, month: str, to: str | Path) -> None:
        """Write a month's page, which needs no other file."""
        path = f"/v1/reports/{quote(month, safe='')}?format=html"
        self._connection.download(path, Path(to))

    def request_report(self, month: str) -> None:
        """Have a month's report made, or made again; it takes a moment."""
        self._connection.json("POST", "/v1/reports", json={"month": month})

    def whoami(self) -> Account:
        """Who is signed in."""
        said = self._connection.json("GET", "/v1/me")
        return Account(said["username"], said["role"], said)

    def sign_out(self) -> None:
        """End the session at once."""
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
    """An address in its one form. Raises `RayonError` for one that is none."""
    url = (url or DEFAULT_URL).strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RayonError(f"Expected an address such as {DEFAULT_URL}. Received: {url!r}")
    return url


def credentials(url: str, key: str | None, token: str | None, saved: SavedSignIns) -> httpx.Auth:
    """What signs the requests: what is given, else the environment's, else what is saved."""
    if token:
        return Bearer(token)
    if key or (key := os.environ.get("RAYON_API_KEY")):
        return ApiKey(key)
    sign_in = saved.find(url)
    if sign_in is None:
        raise SignedOut(f"Nobody is signed in at {url}. {SIGN_IN_AGAIN}")
    return ApiKey(sign_in.api_key) if sign_in.api_key else Saved(saved, url)


def _letter_path(letter_id: str) -> str:
    return f"/v1/dead-letters/{quote(letter_id, safe='')}"


def _image(image: Image, opened: ExitStack) -> tuple[str, IO[bytes] | bytes]:
    """A name and something to read; a file stays on the disk until it is sent."""
    if isinstance(image, str | Path):
        return Path(image).name, opened.enter_context(Path(image).open("rb"))
    if isinstance(image, bytes):
        return "image", image
    # A pipe can be read only once, and a request may have to be sent twice.
    return "image", image if image.seekable() else image.read()
