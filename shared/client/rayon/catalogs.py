"""Catalogs: many products in one file, classified together."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from urllib.parse import urlencode

from rayon import repairs
from rayon.answers import Fault, JsonObject, LabelReport, moment
from rayon.connection import Connection
from rayon.headers import once
from rayon.precision import Precision
from rayon.repairs import ImageReport, RepairReport
from rayon.row_messages import RowMessage, read_messages

CatalogStatus = Literal["validating", "running", "finished", "failed", "cancelled"]
Stage = Literal["reading", "uploading", "validating", "running"]
ResultFormat = Literal["csv", "jsonl", "xlsx"]
#: Format of results by the suffix of their file; CSV for all others.
FORMATS: Mapping[str, ResultFormat] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".xlsx": "xlsx"}

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
class RefusedImage:
    """Entry of the ZIP that is not read, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Catalog:
    """Snapshot of a catalog; `wait` and `refresh` return newer ones.

    Attributes:
        name: Name of the uploaded file.
        dry_run: True if the rows are only checked.
        rows_per_second: Rate measured by the service.
        eta_seconds: Remaining time estimated by the service.
        used_columns: Column of the file by field; empty until the check ends.
        unused_columns: Columns that are only copied to the results.
        notes: Sentences about the file as a whole.
        unmatched_images: First images named in rows but missing from the ZIP.
        unmatched_count: Number of all such images.
        unused_images: First images in the ZIP that no row names.
        unused_count: Number of all such images.
        refused_images: First entries of the ZIP that are not read.
        refused_count: Number of all such entries.
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
    used_columns: Mapping[str, str] = field(default_factory=dict)
    unused_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unmatched_count: int = 0
    unused_count: int = 0
    refused_images: tuple[RefusedImage, ...] = ()
    refused_count: int = 0

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

    def results(
        self,
        to: str | Path,
        *,
        format: ResultFormat | None = None,  # noqa: A002 - the parameter of the interface
        bom: bool | None = None,
        target: float | None = None,
        by_category: bool = False,
    ) -> Path:
        """Write the uploaded rows with their answers to a file, atomically.

        Args:
            to: The file.
            format: `csv`, `jsonl` or `xlsx`. Defaults to that of the suffix, or else to CSV.
            bom: True for CSV with a byte order mark, by which Excel reads accents. By default the
                service adds it where the upload had one or was not in UTF-8.
            target: Wanted share of right answers, such as 0.98, for a column `accepted`.
            by_category: True if each category has to reach the target.
        """
        kind = format or FORMATS.get(Path(to).suffix.lower(), "csv")
        query: dict[str, str] = {"format": kind} if kind != "csv" else {}
        if bom is not None:
            query["bom"] = str(bom).lower()
        if target is not None:
            query |= {"target": f"{target:g}"} | ({"by_category": "true"} if by_category else {})
        return self._download(f"results?{urlencode(query)}" if query else "results", to)

    def messages(self) -> Iterator[RowMessage]:
        """Iterate over the rows without an answer, or with one that does not use every input.

        The results are downloaded to a temporary file.
        """
        with TemporaryDirectory() as folder:
            path = self.results(Path(folder) / "results.jsonl")
            yield from read_messages(path)

    def errors(self, to: str | Path) -> Path:
        """Write the rejected rows with column, value and reason to a CSV file."""
        return self._download("errors", to)

    def precision(self, target: float = 0.98, *, by_category: bool = False) -> Precision:
        """Return which answers to accept so that a target share of them is right.

        While the catalog runs, its answers so far count.

        Args:
            target: Wanted share of right answers among the accepted ones, above 0 and up to 1.
            by_category: True if each category has to reach the target.
        """
        path = f"/v1/catalogs/{self.id}/precision"
        query = {"target": f"{target:g}", "by_category": str(by_category).lower()}
        return Precision.read(self.connection.json("GET", path, params=query))

    def retry(self) -> "Catalog":
        """Requeue the rows that failed."""
        return self._act("POST", "/retry")

    def change_rows(self, corrected: str | Path) -> RepairReport:
        """Send a corrected file of errors; each row is checked, and none is classified yet.

        Args:
            corrected: The CSV file of `errors`, with its rejected rows corrected.
        """
        return repairs.change_rows(self.connection, self.id, Path(corrected))

    def add_images(self, *images: str | Path) -> ImageReport:
        """Send images, or ZIP files of images, for the rows that name them and lack them."""
        return repairs.add_images(self.connection, self.id, map(Path, images))

    def run_repaired(self) -> "Catalog":
        """Classify the repaired rows, and only these; they join the same results."""
        return self._act("POST", "/repair")

    def cancel(self) -> "Catalog":
        """Cancel the catalog. Existing answers are kept, and `resume` runs the other rows."""
        return self._act("DELETE", "")

    def resume(self, images: str | Path | None = None) -> "Catalog":
        """Run the rows of a cancelled catalog that have no answer.

        Args:
            images: The ZIP file of the catalog again, if it had one: a cancel deletes it.
        """
        path = f"/v1/catalogs/{self.id}/resume"
        with ExitStack() as opened:
            files = None
            if images is not None:
                file = opened.enter_context(Path(images).open("rb"))
                files = {"images": (Path(images).name, file, "application/zip")}
            return read(
                self.connection, self.connection.json("POST", path, files=files, headers=once())
            )

    def label(self, labels: str | Path, *, new_categories: bool = False) -> LabelReport:
        """Record the true categories of rows. Sending the same file again changes nothing.

        Args:
            labels: Table with `prdtypecode` and one of `row`, `productid` and `job_id`.
            new_categories: Accept codes that the catalog's release does not have yet. Requires the
                operator role.
        """
        path = Path(labels)
        with path.open("rb") as file:
            body = self.connection.json(
                "POST",
                f"/v1/catalogs/{self.id}/labels",
                data={"new_categories": "true"} if new_categories else None,
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
    unmatched, unused = (
        tuple(body.get(f"{kind}_images") or ()) for kind in ("unmatched", "unused")
    )
    refused = tuple(
        RefusedImage(one["name"], one["reason"]) for one in body.get("refused_images") or ()
    )
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
        used_columns=body.get("used_columns") or {},
        unused_columns=tuple(body.get("unused_columns") or ()),
        notes=tuple(body.get("notes") or ()),
        unmatched_images=unmatched,
        unmatched_count=body.get("unmatched_count") or len(unmatched),
        unused_images=unused,
        unused_count=body.get("unused_count") or len(unused),
        refused_images=refused,
        refused_count=body.get("refused_count") or len(refused),
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
