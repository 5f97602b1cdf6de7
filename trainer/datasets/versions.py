"""Makes versions of datasets from what was sent, and reads them for training.

A version is a Parquet file of rows and, beside it, its fingerprint and its categories; see
`shared.db.datasets` for where. Images are kept once for all versions, by content. Nothing that
was written for one version is ever changed for another.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shared.categories import CategorySet
from shared.db.datasets import (
    ROWS_FILE,
    VERSION_FILE,
    images_folder,
    parse,
    upload_folder,
    version_folder,
)
from shared.errors import InvalidInput, NotFound
from shared.files import atomic_write
from shared.settings import StorageSettings
from shared.storage import Storage
from trainer.datasets.findings import DatasetReport, Finding, error, warning
from trainer.datasets.folder import Dataset, tables, with_images
from trainer.datasets.images import images_in, is_readable, read_image
from trainer.datasets.split import hashed_parts
from trainer.datasets.tables import category_names, labelled, too_many
from trainer.datasets.validation import image_findings, row_findings
from trainer.settings import TrainerSettings

#: Column of stored versions; its name is part of their format.
STORED_IMAGE = "picture"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("designation", pa.string()),
        ("description", pa.string()),
        #: SHA-256 of the image, or empty.
        (STORED_IMAGE, pa.string()),
        ("prdtypecode", pa.int64()),
        ("split", pa.string()),
    ]
)
COLUMNS = [{STORED_IMAGE: "image"}.get(name, name) for name in SCHEMA.names]


@dataclass(frozen=True)
class LabelledJob:
    """A job whose true category a person told."""

    id: str
    designation: str
    description: str
    image_uri: str | None
    code: int


@dataclass(frozen=True)
class Wanted:
    """What a version is to be made from.

    Attributes:
        id: Of the version's row; what was sent is stored under it.
        base: The version before, whose rows stay unless they are replaced or removed.
        files: Which of `products`, `labels`, `images`, `categories` were sent.
        remove: Ids of rows to leave out.
        jobs: To be added with the labels that people gave, each with an id of its own.
        attempt: How often it was begun.
    """

    id: str
    name: str
    version: int
    base: int | None = None
    files: Sequence[str] = ()
    remove: Sequence[str] = ()
    jobs: Iterable[LabelledJob] = ()
    attempt: int = 1


@dataclass(frozen=True)
class Built:
    """What became of it; without a fingerprint nothing was kept."""

    report: DatasetReport
    fingerprint: str | None


@dataclass(frozen=True)
class _Version:
    """Rows with `COLUMNS`, by position, and names of categories."""

    rows: pd.DataFrame
    names: dict[int, str]
    fingerprint: str = ""


@dataclass
class _Builder:
    storage: Storage
    wanted: Wanted
    scratch: Path
    tell: Callable[[], None]
    findings: list[Finding] = field(default_factory=list)

    def build(self) -> Built:
        base = _Version(pd.DataFrame(columns=COLUMNS), {})
        if self.wanted.base is not None:
            base = _read(self.storage, self.wanted.name, self.wanted.base)
        sent, names = self._sent()
        new = pd.concat([sent, self._of_jobs()], ignore_index=True)
        new = new.drop_duplicates("id", keep="last")
        rows = pd.concat([self._left_of(base.rows, new), new], ignore_index=True)
        rows = rows.sort_values("id", ignore_index=True)
        if rows["prdtypecode"].nunique() < 2 and not _errors(self.findings):
            self.findings.append(
                error(
                    "too_few_classes",
                    "Expected rows of two or more categories. Received: "
                    f"{len(rows)} rows of {rows['prdtypecode'].nunique()}",
                )
            )
        if not _errors(self.findings):
            self.findings += too_many(rows["prdtypecode"])
        fingerprint = None
        if not _errors(self.findings):
            rows["split"] = _splits(rows)
            fingerprint = self._keep(rows, base.names | names)
        return Built(_report(rows, self.findings), fingerprint)

    def _sent(self) -> tuple[pd.DataFrame, dict[int, str]]:
        """Rows and category names of the files that were sent; images are stored."""
        for kind in self.wanted.files:
            name = f"{kind}.zip" if kind == "images" else f"{kind}.csv"
            uri = f"{upload_folder(self.wanted.id)}/{name}"
            self.storage.copy_to(uri, self.scratch / name)
            self.tell()
        names, _ = category_names(self.scratch / "categories.csv")
        if "products" not in self.wanted.files:
            return pd.DataFrame(columns=COLUMNS), names
        rows, faults = labelled(*tables(self.scratch))
        rows = with_images(rows, images_in(self.scratch))
        self.findings += [*faults, *row_findings(rows, names)]
        if faults:
            return pd.DataFrame(columns=COLUMNS), names
        hashes, broken = self._store_images(rows)
        self.findings += image_findings(rows, broken)
        return _columns(self._ids(rows), rows, hashes), names

    def _store_images(self, rows: pd.DataFrame) -> tuple[list[str], pd.Index]:
        # An image that many rows name is read and stored once.
        stored = {"": ""}
        for reference in rows["image"]:
            self.tell()
            if reference not in stored:
                stored[reference] = self._store(reference)
        hashes = [stored[reference] for reference in rows["image"]]
        is_broken = (rows["image"] != "") & (pd.Series(hashes, rows.index, dtype=object) == "")
        return hashes, rows.index[is_broken]

    def _store(self, reference: str) -> str:
        """Store an image of the files that were sent; nothing if it cannot be read."""
        try:
            content = read_image(reference) if is_readable(reference) else None
        except (NotFound, InvalidInput):
            content = None
        return "" if content is None else self._keep_image(content)

    def _keep_image(self, content: bytes) -> str:
        return self.storage.put(images_folder(self.wanted.name), content).rpartition("/")[2]

    def _ids(self, rows: pd.DataFrame) -> list[str]:
        """The products' own ids; else the version and the row's number, which nobody else has."""
        seen: dict[str, int] = {}
        found = []
        for number, id_ in zip(rows.index, rows["id"], strict=True):
            name = id_ or f"{self.wanted.version}-{number}"
            seen[name] = seen.get(name, 0) + 1
            found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
        return found

    def _of_jobs(self) -> pd.DataFrame:
        rows = []
        stored: dict[str | None, str] = {None: ""}
        for job in self.wanted.jobs:
            self.tell()
            if job.image_uri is not None and job.image_uri not in stored:
                stored[job.image_uri] = self._copied(job.image_uri)
            texts = job.designation, job.description
            rows.append((f"job-{job.id}", *texts, stored[job.image_uri], job.code, ""))
        return pd.DataFrame(rows, columns=COLUMNS)

    def _copied(self, uri: str) -> str:
        """Keep a job's image with the dataset's; nothing if it is gone."""
        try:
            return self._keep_image(self.storage.get(uri))
        except NotFound:
            return ""

    def _left_of(self, base: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
        unknown = sorted(set(self.wanted.remove) - set(base["id"]))
        if unknown:
            text = "Rows to remove are not in the version before"
            self.findings.append(warning("unknown_ids", text, unknown))
        gone = base["id"].isin(list(self.wanted.remove))
        # A row that comes again stays on its side: what was tested on is never trained on.
        sides = dict(zip(base["id"], base["split"], strict=True))
        new["split"] = [sides.get(id_, "") for id_ in new["id"]]
        return base[~gone & ~base["id"].isin(new["id"])]

    def _keep(self, rows: pd.DataFrame, names: dict[int, str]) -> str:
        codes = sorted(int(code) for code in rows["prdtypecode"].unique())
        categories = [[code, names.get(code, str(code))] for code in codes]
        fingerprint = _fingerprint(rows, categories)
        about = {"fingerprint": fingerprint, "categories": categories}
        path = self.scratch / ROWS_FILE
        table = pa.Table.from_pandas(
            rows[COLUMNS].rename(columns={"image": STORED_IMAGE}), SCHEMA, preserve_index=False
        )
        pq.write_table(table, path, compression="zstd")
        folder = version_folder(self.wanted.name, self.wanted.version)
        with path.open("rb") as file:
            self.storage.put_stream(f"{folder}/{ROWS_FILE}", file)
        self.storage.put_at(f"{folder}/{VERSION_FILE}", json.dumps(about).encode())
        return fingerprint


def build(
    storage: Storage, wanted: Wanted, scratch: Path, tell: Callable[[], None] = lambda: None
) -> Built:
    """Check what was sent and, if it can be trained on, keep it as a version.

    Doing it again gives the same: it may be stopped at any moment.

    Args:
        storage: Has what was sent, and gets the version.
        wanted: What to make.
        scratch: An empty folder for the files while they are read.
        tell: Called often, at least once for each image.

    Raises:
        Unavailable: The storage is full or does not answer.
        OSError: The disk of `scratch` is full.
    """
    try:
        return _Builder(storage, wanted, scratch, tell).build()
    except InvalidInput as fault:
        return Built(DatasetReport(findings=(error("unreadable_file", fault.detail),)), None)


def load_version(storage: Storage, name: str, version: int, cache_folder: Path) -> Dataset:
    """Read a version; its images come to this machine when they are read.

    Args:
        storage: Where the version is.
        name: Of the dataset.
        version: Its number.
        cache_folder: Holds images by content where the storage is not a local folder.

    Raises:
        NotFound: There is no such version.
        Unavailable: The storage does not answer.
    """
    stored = _read(storage, name, version)
    rows = stored.rows.rename(columns={"prdtypecode": "code", "split": "part"})
    fetched = _Fetched(storage, images_folder(name), cache_folder)
    rows["image"] = [fetched.path(digest) if digest else "" for digest in rows["image"]]
    rows["has_text"] = (rows["designation"].str.strip() != "") | (
        rows["description"].str.strip() != ""
    )
    categories = CategorySet.of(stored.names.items())
    return Dataset(rows, categories, {}, read=fetched.read, made=stored.fingerprint)


def load_stored(reference: str) -> Dataset:
    """Read `name@version` from the storage that the settings name, with all of its images.

    Raises:
        InvalidInput: Not a reference to a version.
        NotFound: There is no such version.
        Unavailable: The storage does not answer.
    """
    name, version = parse(reference)
    if version is None:
        raise InvalidInput(f"Expected `name@version`. Received: {reference!r}")
    cache = TrainerSettings().work_folder / "images"
    data = load_version(Storage(StorageSettings()), name, version, cache)
    # Much of the training reads images as the files that they are.
    for path in data.rows["image"]:
        if path and not Path(path).exists():
            data.read_image(path)
    return data


@dataclass(frozen=True)
class _Fetched:
    """Images by content, as files of this machine."""

    storage: Storage
    folder: str
    cache: Path

    def path(self, digest: str) -> str:
        local = self.storage.local(self._uri(digest))
        return str(local or self.cache / digest[:2] / digest)

    def read(self, path: str) -> bytes:
        there = Path(path)
        if there.exists():
            return there.read_bytes()
        content = self.storage.get(self._uri(there.name))
        there.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(there) as temporary:
            temporary.write_bytes(content)
        return content

    def _uri(self, digest: str) -> str:
        return f"{self.folder}/{digest[:2]}/{digest}"


def _read(storage: Storage, name: str, version: int) -> _Version:
    folder = version_folder(name, version)
    try:
        about = json.loads(storage.get(f"{folder}/{VERSION_FILE}"))
        content = storage.get(f"{folder}/{ROWS_FILE}")
    except NotFound as fault:
        raise NotFound(f"No version {version} of the dataset {name!r}") from fault
    rows = pq.read_table(io.BytesIO(content)).to_pandas()
    rows = rows.rename(columns={STORED_IMAGE: "image"})
    names = {int(code): str(label) for code, label in about["categories"]}
    return _Version(rows, names, about["fingerprint"])


def _columns(ids: list[str], rows: pd.DataFrame, hashes: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ids,
            "designation": rows["designation"].to_numpy(object),
            "description": rows["description"].to_numpy(object),
            "image": hashes,
            "prdtypecode": rows["code"].to_numpy(np.int64),
            "split": "",
        }
    )


def _splits(rows: pd.DataFrame) -> pd.Series:
    texts = rows.assign(image_name=rows["image"], code=rows["prdtypecode"])
    return hashed_parts(texts, kept=rows["split"][rows["split"] != ""])


def _fingerprint(rows: pd.DataFrame, categories: list[list[Any]]) -> str:
    """SHA-256 over categories and rows, which are in the order of their ids."""
    digest = hashlib.sha256(json.dumps(categories).encode())
    for row in zip(*(rows[name] for name in COLUMNS), strict=True):
        digest.update(json.dumps([str(value) for value in row]).encode())
    return digest.hexdigest()


def _errors(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _report(rows: pd.DataFrame, findings: list[Finding]) -> DatasetReport:
    return DatasetReport(
        rows=len(rows),
        classes=rows["prdtypecode"].nunique(),
        images=int((rows["image"] != "").sum()),
        findings=tuple(findings),
    )
