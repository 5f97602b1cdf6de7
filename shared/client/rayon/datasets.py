"""Datasets: labelled products for training, in immutable versions that the service checks."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote

from rayon.answers import JsonObject, moment
from rayon.catalogs import OnProgress, Progress
from rayon.connection import Connection
from rayon.errors import RayonError
from rayon.files import Watched
from rayon.uploads import CONTENT_TYPES

DatasetStatus = Literal["checking", "ready", "failed", "deleting"]
#: Interval between two looks at a check.
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Finding:
    """One kind of problem in a dataset.

    Attributes:
        severity: An `error` prevents training, a `warning` does not.
        count: Number of affected rows.
        rows: Numbers or IDs of the first affected rows.
        lines: Lines of the uploaded file on which these rows begin, as far as they are known.
    """

    code: str
    severity: str
    message: str
    count: int
    rows: tuple[int | str, ...]
    lines: tuple[int, ...]

    @classmethod
    def read(cls, body: JsonObject) -> "Finding":
        """Parse a finding."""
        return cls(
            code=body["code"],
            severity=body["severity"],
            message=body["message"],
            count=body.get("count", 0),
            rows=tuple(body.get("rows") or ()),
            lines=tuple(body.get("lines") or ()),
        )


@dataclass(frozen=True)
class DatasetVersion:
    """One version of a dataset, and what its check found.

    Attributes:
        images: Number of images; None before the check has ended, like `rows` and `classes`.
        findings: Findings about the version.
        added_findings: Findings about the rows that were added to an earlier version.
    """

    name: str
    version: int
    status: DatasetStatus
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    rows: int | None
    classes: int | None
    images: int | None
    message: str | None
    findings: tuple[Finding, ...]
    added_findings: tuple[Finding, ...]
    raw: JsonObject = field(repr=False, compare=False)

    @property
    def reference(self) -> str:
        """The version as a training run names it, such as `shop@2`."""
        return f"{self.name}@{self.version}"

    @property
    def is_final(self) -> bool:
        """True once the check has ended."""
        return self.status != "checking"

    @classmethod
    def read(cls, name: str, body: JsonObject) -> "DatasetVersion":
        """Parse a version, with or without its report."""
        report = body.get("report") or {}
        added = report.get("added") or {}
        return cls(
            name=name,
            version=body["version"],
            status=body["status"],
            created_at=datetime.fromisoformat(body["created_at"]),
            created_by=body["created_by"],
            finished_at=moment(body.get("finished_at")),
            rows=body.get("rows"),
            classes=body.get("classes"),
            images=body.get("pictures"),
            message=body.get("message"),
            findings=_findings(report),
            added_findings=_findings(added),
            raw=body,
        )


@dataclass(frozen=True)
class Dataset:
    """A dataset with its versions, newest first."""

    name: str
    versions: tuple[DatasetVersion, ...]
    raw: JsonObject = field(repr=False, compare=False)

    @property
    def newest(self) -> DatasetVersion:
        """The newest version."""
        return self.versions[0]

    @classmethod
    def read(cls, body: JsonObject) -> "Dataset":
        """Parse a dataset."""
        name = body["name"]
        return cls(name, tuple(DatasetVersion.read(name, one) for one in body["versions"]), body)


class Datasets:
    """The datasets of the service; `Rayon.datasets`. Requires the operator role."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[Dataset]:
        """Iterate over all datasets by name, without the reports of their versions."""
        for one in self._connection.json("GET", "/v1/datasets")["items"]:
            yield Dataset.read(one)

    def find(self, name: str) -> Dataset:
        """Return a dataset with the reports of its versions."""
        return Dataset.read(self._connection.json("GET", _path(name)))

    def add(
        self,
        name: str,
        products: str | Path,
        *,
        labels: str | Path | None = None,
        images: str | Path | None = None,
        categories: str | Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> DatasetVersion:
        """Upload a dataset and return its first version, which the service then checks.

        Args:
            name: Name of the new dataset.
            products: Table of products, in any form that catalogs have.
            labels: Table of their categories, unless `products` has a column for them.
            images: ZIP file with the images of the products.
            categories: Table of the codes and names of categories.
            on_progress: Called while the files are sent.
        """
        files = {
            "products": products,
            "labels": labels,
            "images": images,
            "categories": categories,
        }
        return self._send("/v1/datasets", name, {"name": name}, files, on_progress)

    def add_rows(
        self,
        name: str,
        products: str | Path | None = None,
        *,
        labels: str | Path | None = None,
        images: str | Path | None = None,
        categories: str | Path | None = None,
        remove: Sequence[str] = (),
        corrected: bool = False,
        on_progress: OnProgress | None = None,
    ) -> DatasetVersion:
        """Create a version from the latest ready one.

        Args:
            name: Name of the dataset.
            products: Rows to add; rows with an existing ID replace it.
            labels: Table of their categories.
            images: ZIP file with the images of the products.
            categories: Table of the codes and names of categories.
            remove: IDs of rows to leave out.
            corrected: Add the answers that people have labelled.
            on_progress: Called while the files are sent.
        """
        files = {
            "products": products,
            "labels": labels,
            "images": images,
            "categories": categories,
        }
        options: dict[str, Any] = {"remove": list(remove)}
        if corrected:
            options["labels"] = "corrected"
        return self._send(f"{_path(name)}/rows", name, options, files, on_progress)

    def wait(
        self, version: DatasetVersion, on_progress: OnProgress | None = None
    ) -> DatasetVersion:
        """Wait until the check of a version has ended, and return it with its report."""
        while True:
            found = self.find(version.name)
            version = next(one for one in found.versions if one.version == version.version)
            if version.is_final:
                return version
            if on_progress:
                on_progress(Progress("validating", 0, 0))
            time.sleep(POLL_SECONDS)

    def delete(self, name: str) -> None:
        """Delete a dataset with all its versions."""
        self._connection.send("DELETE", _path(name))

    def _send(
        self,
        path: str,
        name: str,
        options: Mapping[str, Any],
        files: Mapping[str, str | Path | None],
        on_progress: OnProgress | None,
    ) -> DatasetVersion:
        # A small request first, so that bad credentials are refused before a large upload.
        self._connection.json("GET", "/v1/datasets")
        paths = {kind: Path(file) for kind, file in files.items() if file is not None}
        with ExitStack() as opened:
            parts = _parts(paths, opened, on_progress)
            body = self._connection.json("POST", path, data=options, files=parts or None)
        return Dataset.read({"name": name, **body}).newest


def _parts(
    paths: Mapping[str, Path], opened: ExitStack, on_progress: OnProgress | None
) -> dict[str, tuple[str, IO[bytes], str]]:
    """Open the files of a form; each is read piece by piece while it is sent."""
    for path in paths.values():
        if not path.is_file():
            raise RayonError(f"Expected a file. Received: {path}")
    total = sum(path.stat().st_size for path in paths.values())
    parts: dict[str, tuple[str, IO[bytes], str]] = {}
    before = 0
    for kind, path in paths.items():
        file = opened.enter_context(path.open("rb"))
        watched: Any = Watched(file, _reported(before, total, on_progress))
        type_ = CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")
        parts[kind] = (path.name, watched, type_)
        before += path.stat().st_size
    return parts


def _reported(before: int, total: int, on_progress: OnProgress | None) -> Callable[[int], None]:
    def report(read_bytes: int) -> None:
        if on_progress:
            on_progress(Progress("uploading", before + read_bytes, total))

    return report


def _findings(report: JsonObject) -> tuple[Finding, ...]:
    found = map(Finding.read, report.get("findings") or ())
    return tuple(sorted(found, key=lambda one: one.severity))


def _path(name: str) -> str:
    return f"/v1/datasets/{quote(name, safe='')}"
