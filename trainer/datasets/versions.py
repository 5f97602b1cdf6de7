"""Reads and writes versions of datasets in the storage, and defines their format.

A version is a Parquet file of rows with its fingerprint and categories beside it; see
`shared.db.datasets` for the paths. Images are stored once for all versions, by content. Files of
a version are never changed afterwards. `trainer.datasets.builder` builds them.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shared.categories import CategorySet
from shared.db.datasets import ROWS_FILE, VERSION_FILE, images_folder, parse, version_folder
from shared.errors import InvalidInput, NotFound
from shared.files import atomic_write
from shared.settings import StorageSettings
from shared.skipping import skipping
from shared.storage import Storage
from trainer.datasets.folder import Dataset
from trainer.datasets.labelled.contributions import UNKNOWN
from trainer.datasets.labels import separator_of
from trainer.datasets.tables import has_text
from trainer.settings import TrainerSettings

#: Image column of stored versions; the name is part of their format.
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
        #: ID of the account that labelled the row, or empty for a row of an uploaded file. Versions
        #: of older trainers lack the column.
        ("labelled_by", pa.string()),
        #: Number of answers that the label stands for, if the answer was drawn for review; else 0.
        #: Time of the answer in seconds since the epoch; 0 if it is unknown. Versions of older
        #: trainers lack both.
        ("represents", pa.float64()),
        ("answered_at", pa.float64()),
    ]
)
COLUMNS = [{STORED_IMAGE: "image"}.get(name, name) for name in SCHEMA.names]
#: Columns that decide what every row trains.
DIGESTED = [name for name in COLUMNS if name not in ("labelled_by", "represents", "answered_at")]
#: Prefix of the ids of rows that were labelled jobs.
JOB_PREFIX = "job-"


@dataclass(frozen=True)
class StoredVersion:
    """Content of a version.

    Attributes:
        rows: Table with the columns `COLUMNS` and a positional index.
        names: Category names by code.
        retired: Names by code of categories that earlier versions had; their codes stay theirs.
        separator: Separator of paths in the names; empty without a tree.
        fingerprint: SHA-256 over categories and rows; empty for a version that does not exist.
        authors: Usernames by the account ids in `labelled_by`.
    """

    rows: pd.DataFrame
    names: dict[int, str]
    fingerprint: str = ""
    authors: dict[str, str] = field(default_factory=dict)
    retired: dict[int, str] = field(default_factory=dict)
    separator: str = ""

    @property
    def known(self) -> dict[int, str]:
        """Names by code of this version and of earlier ones."""
        return self.retired | self.names


def read_version(storage: Storage, name: str, version: int) -> StoredVersion:
    """Read a version without its images.

    Raises:
        NotFound: There is no such version.
        Unavailable: The storage does not answer.
    """
    folder = version_folder(name, version)
    try:
        about = json.loads(storage.get(f"{folder}/{VERSION_FILE}"))
        content = storage.get(f"{folder}/{ROWS_FILE}")
    except NotFound as fault:
        raise NotFound(f"No version {version} of the dataset {name!r}") from fault
    rows = pq.read_table(io.BytesIO(content)).to_pandas()
    rows = rows.rename(columns={STORED_IMAGE: "image"})
    if "labelled_by" not in rows:
        rows["labelled_by"] = np.where(rows["id"].str.startswith(JOB_PREFIX), UNKNOWN, "")
    if "represents" not in rows:
        rows = rows.assign(represents=0.0, answered_at=0.0)
    return StoredVersion(
        rows,
        _names(about["categories"]),
        about["fingerprint"],
        about.get("authors", {}),
        # Versions of older trainers have neither.
        _names(about.get("retired", [])),
        about.get("separator", ""),
    )


@dataclass(frozen=True)
class Place:
    """Place of a version in the storage."""

    storage: Storage
    name: str
    version: int


def write_version(
    place: Place,
    rows: pd.DataFrame,
    known: Mapping[int, str],
    users: Mapping[str, str],
    scratch: Path,
) -> str:
    """Store a version without its images, and return its fingerprint.

    Args:
        place: Where it is stored.
        rows: Table with the columns `COLUMNS`, sorted by id.
        known: Category names by code, of this version and of earlier ones.
        users: Usernames by the account ids in `labelled_by`.
        scratch: Folder for the file before it is stored.

    Raises:
        Unavailable: The storage is full or does not answer.
    """
    codes = sorted(int(code) for code in rows["prdtypecode"].unique())
    categories = [[code, known.get(code, str(code))] for code in codes]
    separator = separator_of(str(name) for _, name in categories)
    fingerprint = _fingerprint(rows, categories, separator)
    about = {
        "fingerprint": fingerprint,
        "categories": categories,
        "retired": [[code, known[code]] for code in sorted({*known} - {*codes})],
        "separator": separator,
        "authors": {id_: users[id_] for id_ in rows["labelled_by"].unique() if id_},
    }
    path = scratch / ROWS_FILE
    table = pa.Table.from_pandas(
        rows[COLUMNS].rename(columns={"image": STORED_IMAGE}), SCHEMA, preserve_index=False
    )
    pq.write_table(table, path, compression="zstd")
    folder = version_folder(place.name, place.version)
    with path.open("rb") as file:
        place.storage.put_stream(f"{folder}/{ROWS_FILE}", file)
    place.storage.put_at(f"{folder}/{VERSION_FILE}", json.dumps(about).encode())
    return fingerprint


def _fingerprint(rows: pd.DataFrame, categories: list[list[Any]], separator: str) -> str:
    """Return the SHA-256 over categories and rows, which are sorted by id.

    Authors are not part of it: the same rows train the same release. What the labels of drawn
    answers stand for is, if there are any.
    """
    digest = hashlib.sha256(json.dumps(categories).encode())
    # Equal names are one release as a tree and another one without.
    digest.update(separator.encode())
    for row in zip(*(rows[name] for name in DIGESTED), strict=True):
        digest.update(json.dumps([str(value) for value in row]).encode())
    drawn = rows[rows["represents"] > 0]
    for row in zip(drawn["id"], drawn["represents"], drawn["answered_at"], strict=True):
        digest.update(json.dumps([str(value) for value in row]).encode())
    return digest.hexdigest()


def _names(pairs: list[tuple[int, str]]) -> dict[int, str]:
    return {int(code): str(name) for code, name in pairs}


def load_version(storage: Storage, name: str, version: int, cache_folder: Path) -> Dataset:
    """Load a version as a dataset whose images are downloaded on first access.

    Args:
        storage: Storage that contains the version.
        name: Name of the dataset.
        version: Number of the version.
        cache_folder: Cache of images by content, used unless the storage is a local folder.

    Raises:
        NotFound: There is no such version.
        Unavailable: The storage does not answer.
    """
    stored = read_version(storage, name, version)
    rows = stored.rows.rename(columns={"prdtypecode": "code", "split": "part"})
    cache = _ImageCache(storage, images_folder(name), cache_folder)
    rows["image"] = [cache.path(digest) if digest else "" for digest in rows["image"]]
    rows["has_text"] = has_text(rows["designation"], rows["description"])
    categories = CategorySet.of(stored.names.items(), stored.separator)
    return Dataset(
        rows,
        categories,
        {},
        read=cache.read,
        stored_fingerprint=stored.fingerprint,
        label_authors=stored.authors,
    )


def load_stored(reference: str) -> Dataset:
    """Load `name@version` from the configured storage and download all of its images.

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
    # Much of the training opens images as local files, without `Dataset.read_image`.
    for path in data.rows["image"]:
        if path and not Path(path).exists():
            with skipping("dataset", path):
                data.read_image(path)
    return data


@dataclass(frozen=True)
class _ImageCache:
    """Images by content, as local files."""

    storage: Storage
    folder: str
    cache: Path

    def path(self, digest: str) -> str:
        local = self.storage.local(self._uri(digest))
        return str(local or self.cache / digest[:2] / digest)

    def read(self, path: str) -> bytes:
        local = Path(path)
        if local.exists():
            return local.read_bytes()
        content = self.storage.get(self._uri(local.name))
        local.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(local) as temporary:
            temporary.write_bytes(content)
        return content

    def _uri(self, digest: str) -> str:
        return f"{self.folder}/{digest[:2]}/{digest}"
