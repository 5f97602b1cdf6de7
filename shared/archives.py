"""Safe opening of untrusted ZIP archives.

`zipfile` loads the whole central directory before a caller can count the members, and needs about
half a kilobyte of memory for each: a directory of 200 MB would take 1.5 GB of memory.
"""

import lzma
import struct
import zipfile
import zlib
from typing import IO

from shared.errors import InvalidInput

#: Largest central directory that is read; that of 85,000 images takes about 8 MB.
MAX_LIST_BYTES = 128 * 1024**2
_MEMBER_SIGNATURE = b"PK\x01\x02"
#: Offset of the lengths of a member's name, extra field and comment.
_LENGTHS_AT = 28
#: Size of the fixed part of a member's directory entry.
_FIXED_BYTES = 46

#: Errors that `zipfile` raises for a corrupt or malicious archive or member.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def open_archive(
    file: IO[bytes],
    max_members: int,
    name: str = "the archive",
    *,
    field: tuple[str | int, ...] = (),
) -> zipfile.ZipFile:
    """Open an archive for reading if it has at most `max_members` members.

    Args:
        file: Open for reading; it stays open when the archive is closed.
        max_members: Limit, checked before the members are listed. The members are counted, since
            the count that the archive declares cannot be trusted.
        name: Name of the archive in error messages.
        field: Path of the request field in error messages.

    Raises:
        InvalidInput: The file is not a ZIP archive, or has too many members.
    """
    guarded = _GuardedFile(file, max_members, name, field)
    try:
        archive = zipfile.ZipFile(guarded)
    except (*BROKEN, OSError) as error:
        raise InvalidInput(
            f"Expected a ZIP archive as {name}. Received: {error}", field=field
        ) from error
    guarded.is_listing = False
    return archive


class _GuardedFile:
    """A file that checks the central directory, which `zipfile` reads in a single call."""

    def __init__(
        self, file: IO[bytes], max_members: int, name: str, field: tuple[str | int, ...]
    ) -> None:
        self._file = file
        self._max_members = max_members
        self._name = name
        self._field = field
        self.is_listing = True
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Read bytes. Raises `InvalidInput` if the central directory exceeds a limit."""
        if self.is_listing and size > MAX_LIST_BYTES:
            raise InvalidInput(
                f"Expected a file list of at most {MAX_LIST_BYTES} bytes in {self._name}. "
                f"Received: {size} bytes",
                field=self._field,
            )
        content = self._file.read(size)
        if self.is_listing and _has_more(content, self._max_members):
            raise InvalidInput(
                f"Expected at most {self._max_members} files in {self._name}. Received: more",
                field=self._field,
            )
        return content

    def close(self) -> None:
        """Leave the file open, since the caller owns it."""


def _has_more(content: bytes, members: int) -> bool:
    """Return True if the central directory `content` lists more than `members` members."""
    position = 0
    for _ in range(members + 1):
        if content[position : position + len(_MEMBER_SIGNATURE)] != _MEMBER_SIGNATURE:
            return False
        if position + _FIXED_BYTES > len(content):
            return False
        lengths = struct.unpack_from("<HHH", content, position + _LENGTHS_AT)
        position += _FIXED_BYTES + sum(lengths)
    return True
