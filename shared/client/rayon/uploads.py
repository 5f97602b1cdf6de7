"""Idempotent upload of a catalog's files.

The Idempotency-Key is derived from the files and options, so that sending them again returns the
same catalog. After a cancelled or failed catalog a successor key is used, so that sending its files
again creates a new catalog.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import filelock
import platformdirs

from rayon import catalogs
from rayon.catalogs import Catalog, OnProgress, Progress, Stage
from rayon.connection import Connection
from rayon.errors import Refused
from rayon.files import PRIVATE, OnBytes, Watched, digest, write_private
from rayon.headers import KEY

CONTENT_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".json": "application/json",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".gz": "application/gzip",
    ".zip": "application/zip",
}
#: Catalogs to remember. Older ones are uploaded again; the service recognizes their key.
MOST_REMEMBERED = 500


class SentCatalogs:
    """Record of uploaded files and their catalogs, which avoids uploading them again."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or platformdirs.user_state_path("rayon") / "catalogs.json"

    def find(self, url: str, key: str) -> str | None:
        """Return the ID of the catalog that was created with a key."""
        return self._read().get(f"{url} {key}")

    def keep(self, url: str, key: str, catalog_id: str) -> None:
        """Remember a catalog."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with filelock.FileLock(f"{self._path}.lock", 10, mode=PRIVATE):
            kept = self._read() | {f"{url} {key}": catalog_id}
            latest = dict(list(kept.items())[-MOST_REMEMBERED:])
            write_private(self._path, json.dumps(latest, indent=1))

    def _read(self) -> dict[str, str]:
        try:
            kept: dict[str, str] = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return {}  # The record only saves an upload, so losing it is harmless.
        return kept


class Upload:
    """Files and options of a catalog.

    Args:
        files: Path by form field, in the order in which the files are sent.
        options: The other form fields.
        on_progress: Called while files are read and sent.
    """

    def __init__(
        self, files: Mapping[str, Path], options: Mapping[str, str], on_progress: OnProgress | None
    ) -> None:
        self._files = files
        self._options = options
        self._on_progress = on_progress
        self._total = sum(path.stat().st_size for path in files.values())

    def key(self) -> str:
        """Return a SHA-256 of names, contents and options in 64 characters."""
        content = hashlib.sha256(json.dumps(self._options, sort_keys=True).encode())
        before = 0
        for field, path in self._files.items():
            file = digest(path, self._progress_callback("reading", before))
            content.update(f"\n{field} {path.name} {file}".encode())
            before += path.stat().st_size
        return content.hexdigest()

    def send(self, connection: Connection, key: str) -> Catalog:
        """Send the files and options; only one chunk of a file is in memory at a time."""
        # A small request first, so that bad credentials are refused before a large upload.
        connection.json("GET", "/v1/catalogs", params={"limit": 1})
        with ExitStack() as opened:
            parts: dict[str, tuple[str, IO[bytes], str]] = {}
            before = 0
            for field, path in self._files.items():
                watched: Any = Watched(
                    opened.enter_context(path.open("rb")),
                    self._progress_callback("uploading", before),
                )
                content_type = CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")
                parts[field] = (path.name, watched, content_type)
                before += path.stat().st_size
            body = connection.json(
                "POST", "/v1/catalogs", data=self._options, files=parts, headers={KEY: key}
            )
        return catalogs.read(connection, body)

    def _progress_callback(self, stage: Stage, before: int) -> OnBytes:
        def report(read_bytes: int) -> None:
            if self._on_progress:
                self._on_progress(Progress(stage, before + read_bytes, self._total))

        return report


def send_once(connection: Connection, upload: Upload, sent: SentCatalogs | None) -> Catalog:
    """Send files, or return the catalog they already belong to, even if it is finished."""
    key = upload.key()
    while known := _known(connection, key, sent):
        if known.status not in ("cancelled", "failed"):
            return known
        key = _successor(key, known)
    catalog = _send(connection, upload, key, sent)
    if catalog.status == "cancelled":
        # The service knew the key although the local record did not.
        catalog = _send(connection, upload, _successor(key, catalog), sent)
    return catalog


def send_again(connection: Connection, upload: Upload, sent: SentCatalogs | None) -> Catalog:
    """Send files as a new catalog even if they were sent before."""
    key = upload.key()
    fresh = hashlib.sha256(f"{key} {time.time_ns()}".encode()).hexdigest()
    catalog = _send(connection, upload, fresh, sent)
    if sent:
        # From now on these files resolve to the new catalog.
        sent.keep(connection.url, key, catalog.id)
    return catalog


def _send(connection: Connection, upload: Upload, key: str, sent: SentCatalogs | None) -> Catalog:
    catalog = upload.send(connection, key)
    if sent:
        sent.keep(connection.url, key, catalog.id)
    return catalog


def _known(connection: Connection, key: str, sent: SentCatalogs | None) -> Catalog | None:
    catalog_id = sent.find(connection.url, key) if sent else None
    if catalog_id is None:
        return None
    try:
        return catalogs.find(connection, catalog_id)
    except Refused as error:
        if error.status != 404:
            raise
        return None  # Deleted since, or owned by another account.


def _successor(key: str, ended: Catalog) -> str:
    return hashlib.sha256(f"{key} after {ended.id}".encode()).hexdigest()
