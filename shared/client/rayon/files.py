"""Files: replaced whole or not at all, read piece by piece, told apart by their content."""

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

#: A piece of a file in memory.
PIECE_BYTES = 1024 * 1024
PRIVATE = 0o600


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Write a file that appears only when the block ends well.

    Args:
        path: The file; the target, if it is a link. A pipe or a device is written directly.
        mode: Of the new file, less what the umask takes.
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
    """Replace a file that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with replacing(path, PRIVATE) as file:
        file.write(text.encode())


class Watched(io.RawIOBase):
    """An open file that tells how far it was read; going back to its start counts anew."""

    def __init__(self, file: IO[bytes], on_bytes: OnBytes) -> None:
        super().__init__()
        self._file = file
        self._on_bytes = on_bytes

    def read(self, size: int = -1, /) -> bytes:
        """Read a piece and tell."""
        piece = self._file.read(size)
        self._on_bytes(self._file.tell())
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place, such as the start for another try."""
        return self._file.seek(offset, whence)

    def fileno(self) -> int:
        """The file's number, by which its length is found."""
        return self._file.fileno()


def digest(path: Path, on_bytes: OnBytes) -> str:
    """SHA-256 of a file's content."""
    content = hashlib.sha256()
    with path.open("rb") as file:
        watched = Watched(file, on_bytes)
        while piece := watched.read(PIECE_BYTES):
            content.update(piece)
    return content.hexdigest()
