"""Sends a catalog's files, once: the same files with the same options are the same catalog.

The Idempotency-Key is made from the content. A cancelled or failed catalog has a successor, with a
key of its own, so that sending its files again begins anew.
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
    ".zip": "application/zip",
}
#: So many catalogs are remembered; older ones are sent again, and the service knows them.
MOST_REMEMBERED = 500


class SentCatalogs:
    """Remembers which catalog came of which files, so that they need not travel again."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or platformdirs.user_state_path("rayon") / "catalogs.json"

    def find(self, url: str, key: str) -> str | None:
        """The id of the catalog that was made with a key."""
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
            return {}  # It only spares an upload.
        return kept


class Upload:
    """The files and options of a catalog.

    Args:
        files: Path by field, in the order in which they travel.
        options: The other fields.
        on_progress: Told while files are read and sent.
    """

    def __init__(
        self, files: Mapping[str, Path], options: Mapping[str, str], on_progress: OnProgress | None
    ) -> None:
        self._files = files
        self._options = options
        self._on_progress = on_progress
        self._total = sum(path.stat().st_size for path in files.values())

    def key(self) -> str:
        """Say in 64 characters what would be sent: names, contents, options."""
        content = hashlib.sha256(json.dumps(self._options, sort_keys=True).encode())
        before = 0
        for field, path in self._files.items():
            file = digest(path, self._teller("reading", before))
            content.update(f"\n{field} {path.name} {file}".encode())
            before += path.stat().st_size
        return content.hexdigest()

    def send(self, connection: Connection, key: str) -> Catalog:
        """Send everything; at no time is more than a piece of a file in memory."""
        # Asked first, so that nothing large travels only to be refused.
        connection.json("GET", "/v1/catalogs", params={"limit": 1})
        with ExitStack() as opened:
            parts: dict[str, tuple[str, IO[bytes], str]] = {}
            before = 0
            for field, path in self._files.items():
                watched: Any = Watched(
                    opened.enter_context(path.open("rb")), self._teller("uploading", before)
                )
                content_type = CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")
                parts[field] = (path.name, watched, content_type)
                before += path.stat().st_size
            said = connection.json(
                "POST", "/v1/catalogs", data=self._options, files=parts, headers={KEY: key}
            )
        return catalogs.read(connection, said)

    def _teller(self, stage: Stage, before: int) -> OnBytes:
        def tell(read_bytes: int) -> None:
            if self._on_progress:
                self._on_progress(Progress(stage, before + read_bytes, self._total))

        return tell


def send_once(connection: Connection, upload: Upload, sent: SentCatalogs | None) -> Catalog:
    """Send files unless they are a catalog already; that one is returned, also when finished."""
    key = upload.key()
    while known := _known(connection, key, sent):
        if known.status not in ("cancelled", "failed"):
            return known
        key = _successor(key, known)
    catalog = _send(connection, upload, key, sent)
    if catalog.status == "cancelled":
        # The service knew it, and this machine did not.
        catalog = _send(connection, upload, _successor(key, catalog), sent)
    return catalog


def send_again(connection: Connection, upload: Upload, sent: SentCatalogs | None) -> Catalog:
    """Send files even if they are a catalog already."""
    key = upload.key()
    fresh = hashlib.sha256(f"{key} {time.time_ns()}".encode()).hexdigest()
    catalog = _send(connection, upload, fresh, sent)
    if sent:
        # From now on this is the catalog of these files.
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
        return None  # Deleted since, or of another account.


def _successor(key: str, ended: Catalog) -> str:
    return hashlib.sha256(f"{key} after {ended.id}".encode()).hexdigest()
