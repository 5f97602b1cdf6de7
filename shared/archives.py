"""Opens ZIP archives that anybody may have made.

Python's reader lists all members before anybody can count them, at half a kilobyte each; so 200 MB
of list would take 1.5 GB of memory.
"""

import lzma
import struct
import zipfile
import zlib
from typing import IO

from shared.errors import InvalidInput

#: What the list of an archive's members may take; 85,000 images take some 8 MB.
MAX_LIST_BYTES = 128 * 1024**2
_OF_A_MEMBER = b"PK\x01\x02"
#: Before the lengths of a member's name, extra field and comment; and all that is of fixed length.
_LENGTHS_AT, _FIXED_BYTES = 28, 46


#: What the reader raises for an archive, or a member of one, that is broken or made to break it.
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
    """Open an archive for reading, if it has no more members than it may.

    Args:
        file: Open for reading; it stays open when the archive is closed.
        max_members: More are refused, before they are listed, whatever the archive says of itself.
        name: What the archive is called where it is refused.
        field: Of the request, which a refusal names.

    Raises:
        InvalidInput: Not a ZIP archive, or one of too many members.
    """
    wary = _Wary(file, max_members, name, field)
    try:
        archive = zipfile.ZipFile(wary)
    except (*BROKEN, OSError) as error:
        raise InvalidInput(
            f"Expected a ZIP archive as {name}. Received: {error}", field=field
        ) from error
    wary.is_listing = False
    return archive


class _Wary:
    """A file that looks at the list of members before the reader gets it, which is in one piece."""

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
        """Read, but no list that is too long. Raises `InvalidInput`."""
        if self.is_listing and size > MAX_LIST_BYTES:
            raise InvalidInput(
                f"Expected a list of files of at most {MAX_LIST_BYTES} bytes in {self._name}. "
                f"Received: {size}",
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
        """Leave the file open: it is whose it was."""


def _has_more(content: bytes, members: int) -> bool:
    """Return True if these bytes list more members."""
    position = 0
    for _ in range(members + 1):
        if content[position : position + len(_OF_A_MEMBER)] != _OF_A_MEMBER:
            return False
        if position + _FIXED_BYTES > len(content):
            return False
        lengths = struct.unpack_from("<HHH", content, position + _LENGTHS_AT)
        position += _FIXED_BYTES + sum(lengths)
    return True
