"""A catalog: many products in one file, classified together."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Literal

from rayon.answers import Fault, JsonObject, moment
from rayon.connection import Connection
from rayon.headers import once

CatalogStatus = Literal["validating", "running", "finished", "failed", "cancelled"]
Stage = Literal["reading", "uploading", "validating", "running"]

#: How often the progress of a catalog is looked at.
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Progress:
    """How far something is.

    Attributes:
        stage: What is done now.
        done: Bytes of a file, or rows.
        total: Of the same; 0 while it is not known.
        catalog: Once the service has it.
    """

    stage: Stage
    done: int
    total: int
    catalog: "Catalog | None" = None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Counts:
    """Rows of a catalog by what became of them; `rows` is all of them."""

    rows: int = 0
    rejected: int = 0
    queued: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def final(self) -> int:
        """Rows that nothing more will happen to."""
        return self.rejected + self.done + self.failed + self.cancelled


@dataclass(frozen=True)
class RejectedLabel:
    """Why a row of a label file was not taken; `row` and `line` are those of that file."""

    row: int
    line: int
    column: str | None
    value: str
    reason: str


@dataclass(frozen=True)
class LabelReport:
    """What became of the rows of a label file.

    Attributes:
        skipped: Rows without a code.
        problems: The first thousand rejected rows.
    """

    rows: int
    taken: int
    skipped: int
    rejected: int
    problems: tuple[RejectedLabel, ...]
    raw: JsonObject = field(repr=False, compare=False)

    @classmethod
    def read(cls, said: JsonObject) -> "LabelReport":
        """Take a report out of what the service said."""
        return cls(
            rows=said["rows"],
            taken=said["taken"],
            skipped=said["skipped"],
            rejected=said["rejected"],
            problems=tuple(
                RejectedLabel(one["row"], one["line"], one["column"], one["value"], one["reason"])
                for one in said["problems"]
            ),
            raw=said,
        )


@dataclass(frozen=True)
class Catalog:
    """A catalog as it was when it was last asked for; `wait` and `refresh` give it anew.

    Attributes:
        name: The uploaded file's.
        dry_run: The rows are only checked.
        rows_per_second: Measured by the service.
        eta_seconds: Until it is finished, as the service expects.
        unmatched_images: Images that rows name and the ZIP has not.
        unused_images: Images in the ZIP that no row names.
        warnings: How many rows go on without something, such as a missing image.
    """

    id: str
    status: CatalogStatus
    name: str
    model: str
    release: str
    dry_run: bool
    created_at: datetime
    finished_at: datetime | None
    counts: Counts
    rows_per_second: float | None
    eta_seconds: float | None
    unmatched_images: tuple[str, ...]
    unused_images: tuple[str, ...]
    warnings: int
    error: Fault | None
    raw: JsonObject = field(repr=False, compare=False)
    connection: Connection = field(repr=False, compare=False)

    @property
    def is_final(self) -> bool:
        """Whether it goes no further."""
        return self.status in ("finished", "failed", "cancelled")

    @property
    def is_whole(self) -> bool:
        """Whether every row has its answer."""
        lost = self.counts.rejected + self.counts.failed + self.counts.cancelled
        return self.status == "finished" and not lost

    def refresh(self) -> "Catalog":
        """Ask for it anew."""
        return find(self.connection, self.id)

    def wait(
        self, *, seconds: float | None = None, on_progress: OnProgress | None = None
    ) -> "Catalog":
        """Wait until it is final.

        Args:
            seconds: At most so long; then it is returned as it is. Without, as long as it takes.
            on_progress: Told about once a second.
        """
        deadline = time.monotonic() + seconds if seconds is not None else float("inf")
        catalog = self
        while True:
            if on_progress:
                on_progress(_progress(catalog))
            if catalog.is_final or time.monotonic() >= deadline:
                return catalog
            catalog = _next(catalog)

    def results(self, to: str | Path) -> Path:
        """Write the uploaded rows with their answers, as CSV; the file appears whole."""
        return self._download("results", to)

    def errors(self, to: str | Path) -> Path:
        """Write the rejected rows with column, value and reason, as CSV."""
        return self._download("errors", to)

    def retry(self) -> "Catalog":
        """Classify the rows that failed again."""
        return self._act("POST", "/retry")

    def cancel(self) -> "Catalog":
        """Stop it; answers that exist stay."""
        return self._act("DELETE", "")

    def label(self, labels: str | Path) -> LabelReport:
        """Tell the true categories of rows; the same file again changes nothing.

        Args:
            labels: A table with `prdtypecode`, and `row`, `productid` or `job_id`.
        """
        path = Path(labels)
        with path.open("rb") as file:
            said = self.connection.json(
                "POST",
                f"/v1/catalogs/{self.id}/labels",
                files={"labels": (path.name, file)},
                headers=once(),
            )
        return LabelReport.read(said)

    def _act(self, method: str, path: str) -> "Catalog":
        self.connection.send(method, f"/v1/catalogs/{self.id}{path}", headers=once())
        return self.refresh()

    def _download(self, what: str, to: str | Path) -> Path:
        self.connection.download(f"/v1/catalogs/{self.id}/{what}", Path(to))
        return Path(to)


def find(connection: Connection, catalog_id: str, wait_seconds: float = 0) -> Catalog:
    """Ask for a catalog; with `wait_seconds` the service answers later, or once it is final."""
    query = {"wait": wait_seconds} if wait_seconds else {}
    return read(connection, connection.json("GET", f"/v1/catalogs/{catalog_id}", params=query))


def read(connection: Connection, said: JsonObject) -> Catalog:
    """Take a catalog out of what the service said; fields that are new are left in `raw`."""
    known = {each.name for each in fields(Counts)}
    counts = {name: count for name, count in said.get("counts", {}).items() if name in known}
    return Catalog(
        id=said["id"],
        status=said["status"],
        name=said.get("name") or "",
        model=said["model"],
        release=said["release"],
        dry_run=said.get("dry_run", False),
        created_at=datetime.fromisoformat(said["created_at"]),
        finished_at=moment(said.get("finished_at")),
        counts=Counts(**counts),
        rows_per_second=said.get("rows_per_second"),
        eta_seconds=said.get("eta_seconds"),
        unmatched_images=tuple(said.get("unmatched_images") or ()),
        unused_images=tuple(said.get("unused_images") or ()),
        warnings=said.get("warnings") or 0,
        error=Fault.read(said.get("error")),
        raw=said,
        connection=connection,
    )


def _next(catalog: Catalog) -> Catalog:
    """The catalog a little later, whether or not the service lets its clients wait."""
    asked = time.monotonic()
    found = find(catalog.connection, catalog.id, POLL_SECONDS)
    if not found.is_final:
        time.sleep(max(0.0, asked + POLL_SECONDS - time.monotonic()))
    return found


def _progress(catalog: Catalog) -> Progress:
    stage: Stage = "validating" if catalog.status == "validating" else "running"
    return Progress(stage, catalog.counts.final, catalog.counts.rows, catalog)
