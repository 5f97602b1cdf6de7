"""Catalogs: many products in one file, classified together."""

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

#: Interval between two looks at the progress of a catalog.
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Progress:
    """Progress of an upload or a catalog.

    Attributes:
        stage: Current stage.
        done: Bytes or rows processed so far.
        total: All bytes or rows; 0 while the number is unknown.
        catalog: The catalog, once the service has accepted it.
    """

    stage: Stage
    done: int
    total: int
    catalog: "Catalog | None" = None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Counts:
    """Rows of a catalog by status; `rows` is the total."""

    rows: int = 0
    rejected: int = 0
    queued: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def final(self) -> int:
        """Number of rows whose status can no longer change."""
        return self.rejected + self.done + self.failed + self.cancelled


@dataclass(frozen=True)
class RejectedLabel:
    """Rejected row of a label file; `row` and `line` count within that file."""

    row: int
    line: int
    column: str | None
    value: str
    reason: str


@dataclass(frozen=True)
class LabelReport:
    """Outcome of a label file.

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
    def read(cls, body: JsonObject) -> "LabelReport":
        """Parse a label report."""
        return cls(
            rows=body["rows"],
            taken=body["taken"],
            skipped=body["skipped"],
            rejected=body["rejected"],
            problems=tuple(
                RejectedLabel(one["row"], one["line"], one["column"], one["value"], one["reason"])
                for one in body["problems"]
            ),
            raw=body,
        )


@dataclass(frozen=True)
class Catalog:
    """Snapshot of a catalog; `wait` and `refresh` return newer ones.

    Attributes:
        name: Name of the uploaded file.
        dry_run: True if the rows are only checked.
        rows_per_second: Rate measured by the service.
        eta_seconds: Remaining time estimated by the service.
        unmatched_images: Images named in rows but missing from the ZIP.
        unused_images: Images in the ZIP that no row names.
        warnings: Number of rows processed despite a problem, such as a missing image.
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
        """True once the status can no longer change."""
        return self.status in ("finished", "failed", "cancelled")

    @property
    def is_whole(self) -> bool:
        """True if every row has an answer."""
        lost = self.counts.rejected + self.counts.failed + self.counts.cancelled
        return self.status == "finished" and not lost

    def refresh(self) -> "Catalog":
        """Return the current state of the catalog."""
        return find(self.connection, self.id)

    def wait(
        self, *, seconds: float | None = None, on_progress: OnProgress | None = None
    ) -> "Catalog":
        """Wait until the catalog is final and return its latest state.

        Args:
            seconds: Longest time to wait. By default there is no limit.
            on_progress: Called about once a second.
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
        """Write the uploaded rows with their answers to a CSV file, atomically."""
        return self._download("results", to)

    def errors(self, to: str | Path) -> Path:
        """Write the rejected rows with column, value and reason to a CSV file."""
        return self._download("errors", to)

    def retry(self) -> "Catalog":
        """Requeue the rows that failed."""
        return self._act("POST", "/retry")

    def cancel(self) -> "Catalog":
        """Cancel the catalog. Existing answers are kept."""
        return self._act("DELETE", "")

    def label(self, labels: str | Path) -> LabelReport:
        """Record the true categories of rows. Sending the same file again changes nothing.

        Args:
            labels: Table with `prdtypecode` and one of `row`, `productid` and `job_id`.
        """
        path = Path(labels)
        with path.open("rb") as file:
            body = self.connection.json(
                "POST",
                f"/v1/catalogs/{self.id}/labels",
                files={"labels": (path.name, file)},
                headers=once(),
            )
        return LabelReport.read(body)

    def _act(self, method: str, path: str) -> "Catalog":
        self.connection.send(method, f"/v1/catalogs/{self.id}{path}", headers=once())
        return self.refresh()

    def _download(self, what: str, to: str | Path) -> Path:
        self.connection.download(f"/v1/catalogs/{self.id}/{what}", Path(to))
        return Path(to)


def find(connection: Connection, catalog_id: str, wait_seconds: float = 0) -> Catalog:
    """Return a catalog; with `wait_seconds`, wait up to so long for it to become final."""
    query = {"wait": wait_seconds} if wait_seconds else {}
    return read(connection, connection.json("GET", f"/v1/catalogs/{catalog_id}", params=query))


def read(connection: Connection, body: JsonObject) -> Catalog:
    """Parse a catalog; unknown fields are available in `raw`."""
    known = {each.name for each in fields(Counts)}
    counts = {name: count for name, count in body.get("counts", {}).items() if name in known}
    return Catalog(
        id=body["id"],
        status=body["status"],
        name=body.get("name") or "",
        model=body["model"],
        release=body["release"],
        dry_run=body.get("dry_run", False),
        created_at=datetime.fromisoformat(body["created_at"]),
        finished_at=moment(body.get("finished_at")),
        counts=Counts(**counts),
        rows_per_second=body.get("rows_per_second"),
        eta_seconds=body.get("eta_seconds"),
        unmatched_images=tuple(body.get("unmatched_images") or ()),
        unused_images=tuple(body.get("unused_images") or ()),
        warnings=body.get("warnings") or 0,
        error=Fault.read(body.get("error")),
        raw=body,
        connection=connection,
    )


def _next(catalog: Catalog) -> Catalog:
    """Return the catalog after one poll interval, even if the service does not hold requests."""
    asked = time.monotonic()
    found = find(catalog.connection, catalog.id, POLL_SECONDS)
    if not found.is_final:
        time.sleep(max(0.0, asked + POLL_SECONDS - time.monotonic()))
    return found


def _progress(catalog: Catalog) -> Progress:
    stage: Stage = "validating" if catalog.status == "validating" else "running"
    return Progress(stage, catalog.counts.final, catalog.counts.rows, catalog)
