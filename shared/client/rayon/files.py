"""Atomic writes, reads with progress, and content digests of files."""

import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

#: Called with the bytes read so far.
OnBytes = Callable[[int], None]

#: Size of the chunks in which files are read.
PIECE_BYTES = 1024 * 1024
PRIVATE = 0o600


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` only if the block succeeds.

    Args:
        path: Destination; links are resolved. A pipe or a device is written directly.
        mode: Permissions of the new file, restricted by the umask.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as special:
            yield special
        return
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner can read it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with replacing(path, PRIVATE) as file:
        file.write(text.encode())


class Watched(io.RawIOBase):
    """Open file that reports its read position after each read."""

    def __init__(self, file: IO[bytes], on_bytes: OnBytes) -> None:
        super().__init__()
        self._file = file
        self._on_bytes = on_bytes

    def read(self, size: int = -1, /) -> bytes:
        """Read a chunk and report the position."""
        piece = self._file.read(size)
        self._on_bytes(self._file.tell())
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the read position, for example to the start for a retry."""
        return self._file.seek(offset, whence)

    def fileno(self) -> int:
        """Return the file descriptor; httpx reads the length from it."""
        return self._file.fileno()


def digest(path: Path, on_bytes: OnBytes) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    content = hashlib.sha256()
    with path.open("rb") as file:
        watched = Watched(file, on_bytes)
        while piece := watched.read(PIECE_BYTES):
            content.update(piece)
    return content.hexdigest()
