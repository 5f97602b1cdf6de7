"""Bytes by address, over fsspec: a folder by default, S3-compatible storage in production."""

import errno
import hashlib
import uuid

import fsspec
from fsspec.core import url_to_fs

from shared.errors import InvalidInput, NotFound, Unavailable
from shared.settings import StorageSettings


class Storage:
    """Content-addressed bytes under one root.

    The same bytes always have the same address, so nothing is stored twice and writing again
    changes nothing.
    """

    def __init__(self, settings: StorageSettings) -> None:
        self._files: fsspec.AbstractFileSystem
        self._files, self._root = url_to_fs(settings.url)
        self._root = self._root.rstrip("/")

    def put(self, folder: str, content: bytes) -> str:
        """Store bytes and return their address, relative to the root.

        Raises:
            Unavailable: The storage is full or does not answer.
        """
        digest = hashlib.sha256(content).hexdigest()
        uri = f"{folder}/{digest[:2]}/{digest}"
        try:
            if not self._files.exists(self._path(uri)):
                self._write(uri, content)
        except OSError as error:
            reason = "is full" if error.errno == errno.ENOSPC else f"does not answer: {error}"
            raise Unavailable(f"The storage {reason}") from error
        return uri

    def get(self, uri: str) -> bytes:
        """Read the bytes of an address.

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

    def _write(self, uri: str, content: bytes) -> None:
        # Written aside and moved: a reader never sees half a file, and a crash leaves none.
        path, aside = self._path(uri), self._path(f"incoming/{uuid.uuid4().hex}")
        for folder in (path.rpartition("/")[0], aside.rpartition("/")[0]):
            self._files.makedirs(folder, exist_ok=True)
        try:
            self._files.pipe_file(aside, content)
            self._files.mv(aside, path)
        finally:
            if self._files.exists(aside):
                self._files.rm(aside)

    def _path(self, uri: str) -> str:
        if uri.startswith("/") or ".." in uri.split("/"):
            raise InvalidInput(f"Expected an address inside the storage. Received: {uri!r}")
        return f"{self._root}/{uri}"
