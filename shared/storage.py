"""File storage on fsspec: a folder by default, S3-compatible storage in production."""

import hashlib
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from shared import metrics
from shared.errors import InvalidInput, NotFound, Unavailable
from shared.files import FULL_WAIT_SECONDS, is_disk_full
from shared.settings import StorageSettings

#: Chunk size for copying large files.
PIECE_BYTES = 1024 * 1024
#: Folder of incomplete files; `Storage.remove_abandoned` removes those that were abandoned.
INCOMING = "incoming"
#: Storing the same bytes again after this time rewrites the file, so its age is the time since it
#: was last stored, accurate to an hour.
FRESH_SECONDS = 3600.0
_DIGEST = re.compile(r"[0-9a-f]{64}")


def digest_in(uri: str) -> str | None:
    """Return the SHA-256 in an address made by `put`, or `None` for other addresses."""
    name = uri.rpartition("/")[2]
    return name if _DIGEST.fullmatch(name) else None


@dataclass(frozen=True)
class StoredFile:
    """File in a listing; `size` in bytes, `modified` in seconds since 1970."""

    uri: str
    size: int
    modified: float


class Storage:
    """Files under one root, addressed by a path relative to the root.

    `put` derives the address from the content: the same bytes are stored once, and storing them
    again changes only the modification time.
    """

    def __init__(self, settings: StorageSettings) -> None:
        self._files: fsspec.AbstractFileSystem
        # Other processes write here too, so cached listings would be stale.
        self._files, self._root = url_to_fs(settings.url, use_listings_cache=False)
        self._root = self._root.rstrip("/")
        self.min_free_bytes = settings.min_free_bytes

    def put(self, folder: str, content: bytes) -> str:
        """Store bytes and return their address, relative to the root.

        Raises:
            Unavailable: The storage is full or does not answer.
        """
        digest = hashlib.sha256(content).hexdigest()
        uri = f"{folder}/{digest[:2]}/{digest}"
        with _unavailable_if_broken():
            if not self._is_fresh(uri):
                self.require_room(len(content))
                self._write(uri, content)
        return uri

    def put_at(self, uri: str, content: bytes) -> None:
        """Store bytes at the given address, replacing an existing file.

        Raises:
            Unavailable: The storage is full or does not answer.
        """
        with _unavailable_if_broken():
            self.require_room(len(content))
            self._write(uri, content)

    def put_stream(self, uri: str, stream: BinaryIO) -> int:
        """Store a stream in chunks and return its size in bytes.

        Raises:
            Unavailable: The storage is full or does not answer; no partial file remains.
        """
        with _unavailable_if_broken(), self._aside(uri) as aside:
            with self._files.open(aside, "wb") as file:
                while piece := stream.read(PIECE_BYTES):
                    self.require_room(len(piece))
                    file.write(piece)
            return int(self._files.size(aside))

    def copy_to(self, uri: str, path: Path) -> None:
        """Copy a stored file to a local file in chunks.

        Raises:
            NotFound: Nothing is stored there.
            Unavailable: The storage does not answer, or the local disk is full.
        """
        with _unavailable_if_broken():
            try:
                with self._files.open(self._path(uri), "rb") as file, path.open("wb") as out:
                    shutil.copyfileobj(file, out, PIECE_BYTES)
            except FileNotFoundError as error:
                raise NotFound(f"Nothing is stored at {uri!r}") from error

    def local(self, uri: str) -> Path | None:
        """Return the local path of an address, or `None` if the storage is not a folder."""
        path = self._path(uri)
        return Path(path) if isinstance(self._files, LocalFileSystem) else None

    def free_bytes(self) -> int | None:
        """Return the free disk space, or `None` if the storage is not a folder.

        Raises:
            Unavailable: The storage does not answer.
        """
        if not isinstance(self._files, LocalFileSystem):
            return None
        with _unavailable_if_broken():
            self._files.makedirs(self._root, exist_ok=True)
            return shutil.disk_usage(self._root).free

    def require_room(self, size: int) -> None:
        """Check that some more bytes leave enough free disk space.

        Raises:
            Unavailable: They would leave less than `min_free_bytes`.
        """
        free = self.free_bytes()
        if free is not None and free - size < self.min_free_bytes:
            raise Unavailable(
                f"The storage is almost full. Expected {self.min_free_bytes} bytes to stay free. "
                f"Received: {size} bytes, which would leave less",
                retry_after_seconds=FULL_WAIT_SECONDS,
            )

    def has(self, uri: str) -> bool:
        """Return True if something is stored at an address. Raises `Unavailable`."""
        with _unavailable_if_broken():
            return bool(self._files.exists(self._path(uri)))

    def get(self, uri: str) -> bytes:
        """Return the bytes stored at an address.

        Raises:
            NotFound: Nothing is stored there.
            Unavailable: The storage does not answer.
        """
        try:
            content: bytes = self._files.cat_file(self._path(uri))
        except FileNotFoundError as error:
            raise NotFound(f"Nothing is stored at {uri!r}") from error
        except OSError as error:
            raise Unavailable(f"The storage does not answer: {error}") from error
        return content

    def open(self, uri: str) -> BinaryIO:
        """Open a stored file for reading in chunks.

        Raises:
            NotFound: Nothing is stored there.
            Unavailable: The storage does not answer.
        """
        with _unavailable_if_broken():
            try:
                return cast(BinaryIO, self._files.open(self._path(uri), "rb"))
            except FileNotFoundError as error:
                raise NotFound(f"Nothing is stored at {uri!r}") from error

    def files(self, folder: str) -> list[StoredFile]:
        """List the files directly in a folder; empty if the folder does not exist.

        Raises:
            Unavailable: The storage does not answer.
        """
        return [
            StoredFile(_join(folder, entry), int(entry["size"] or 0), _modified(entry))
            for entry in self._entries(folder)
            if entry["type"] == "file"
        ]

    def folders(self, folder: str) -> list[str]:
        """List the addresses of the subfolders of a folder. Raises `Unavailable`."""
        entries = self._entries(folder)
        return [_join(folder, entry) for entry in entries if entry["type"] == "directory"]

    def everything(self) -> Iterator[StoredFile]:
        """List all complete files, folder by folder. Raises `Unavailable`."""
        folders = [""]
        while folders:
            folder = folders.pop()
            yield from self.files(folder)
            folders += [child for child in self.folders(folder) if child != INCOMING]

    def remove(self, uri: str) -> None:
        """Remove a file if it exists. Raises `Unavailable`."""
        with _unavailable_if_broken(), suppress(FileNotFoundError):
            self._files.rm_file(self._path(uri))

    def remove_older(self, uri: str, moment: datetime) -> bool:
        """Remove a file that was last stored before a time; return True if it was removed.

        Raises:
            Unavailable: The storage does not answer.
        """
        with _unavailable_if_broken(), suppress(FileNotFoundError):
            # The time is read again, because the file may have been stored since it was listed.
            if _modified(self._files.info(self._path(uri))) < moment.timestamp():
                self._files.rm_file(self._path(uri))
                return True
        return False

    def remove_abandoned(self, moment: datetime) -> int:
        """Remove incomplete files last written before a time and return their number.

        A killed process leaves the file that it was writing, which may take gigabytes.

        Raises:
            Unavailable: The storage does not answer.
        """
        return sum(self.remove_older(file.uri, moment) for file in self.files(INCOMING))

    def remove_folder(self, uri: str) -> None:
        """Remove a folder and its contents if it exists.

        Raises:
            Unavailable: The storage does not answer.
        """
        with _unavailable_if_broken(), suppress(FileNotFoundError):
            self._files.rm(self._path(uri), recursive=True)

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        with _unavailable_if_broken():
            try:
                entries: list[dict[str, Any]] = self._files.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return []
        return entries

    def _is_fresh(self, uri: str) -> bool:
        try:
            return time.time() - _modified(self._files.info(self._path(uri))) < FRESH_SECONDS
        except FileNotFoundError:
            return False

    def _write(self, uri: str, content: bytes) -> None:
        if not isinstance(self._files, LocalFileSystem):
            # Object storage writes are atomic; a temporary object would only cost more requests.
            self._files.pipe_file(self._path(uri), content)
            return
        with self._aside(uri) as aside:
            self._files.pipe_file(aside, content)

    @contextmanager
    def _aside(self, uri: str) -> Iterator[str]:
        # A file is written under a temporary name and then moved, so that neither a reader nor a
        # crash can leave half a file at its address.
        path, aside = self._path(uri), self._path(f"{INCOMING}/{uuid.uuid4().hex}")
        if isinstance(self._files, LocalFileSystem):
            for folder in (path.rpartition("/")[0], aside.rpartition("/")[0]):
                self._files.makedirs(folder, exist_ok=True)
        try:
            yield aside
            self._files.mv(aside, path)
        finally:
            if self._files.exists(aside):
                self._files.rm(aside)

    def _path(self, uri: str) -> str:
        if uri.startswith("/") or ".." in uri.split("/"):
            raise InvalidInput(f"Expected an address inside the storage. Received: {uri!r}")
        return f"{self._root}/{uri}" if uri else self._root


@contextmanager
def _unavailable_if_broken() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        metrics.dependency_failures_total.labels("storage").inc()
        if is_disk_full(error):
            raise Unavailable(
                "The disk of the storage is full", retry_after_seconds=FULL_WAIT_SECONDS
            ) from error
        raise Unavailable(f"The storage does not answer: {error}") from error


def _join(folder: str, entry: dict[str, Any]) -> str:
    return f"{folder}/{_name(entry)}" if folder else _name(entry)


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _modified(entry: dict[str, Any]) -> float:
    # Folders report `mtime`, S3 reports `LastModified`, other file systems report `created`.
    moment = entry.get("mtime") or entry.get("LastModified") or entry.get("created") or 0.0
    return moment.timestamp() if isinstance(moment, datetime) else float(moment)
