"""Safe opening of untrusted ZIP archives.

`zipfile` loads the whole central directory before a caller can count the members, and needs about
half a kilobyte of memory for each: a directory of 200 MB would take 1.5 GB of memory.
"""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO

import inflate64
import zstandard

from shared.errors import InvalidInput

#: Largest central directory that is read; that of 85,000 images takes about 8 MB.
MAX_LIST_BYTES = 128 * 1024**2
_MEMBER_SIGNATURE = b"PK\x01\x02"
#: Offset of the lengths of a member's name, extra field and comment.
_LENGTHS_AT = 28
#: Size of the fixed part of a member's directory entry.
_FIXED_BYTES = 46

#: Compression methods that are read. `zipfile` reads the first four; Windows Explorer packs large
#: archives with Deflate64 (9), and WinZip and 7-Zip know Zstandard (93, formerly 20).
DEFLATE64, ZSTANDARD, ZSTANDARD_OLD = 9, 93, 20
METHODS = {
    zipfile.ZIP_STORED: "stored",
    zipfile.ZIP_DEFLATED: "Deflate",
    zipfile.ZIP_BZIP2: "BZIP2",
    zipfile.ZIP_LZMA: "LZMA",
    DEFLATE64: "Deflate64",
    ZSTANDARD: "Zstandard",
    ZSTANDARD_OLD: "Zstandard",
}
#: Compressed bytes that are unpacked at once: they may unpack to a thousand times as many.
_CHUNK_BYTES = 4096
#: Largest window of Zstandard, which the reader holds in memory.
_WINDOW_BYTES = 8 * 1024 * 1024
_LITTER = frozenset((".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon", ".localized"))
_LITTER_FOLDERS = frozenset(("__MACOSX", ".Spotlight-V100", ".Trashes", ".fseventsd"))
_LOCAL_BYTES = 30
_LOCAL_SIGNATURE = b"PK\x03\x04"

#: Errors that `zipfile` raises for a corrupt or malicious archive or member.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    zstandard.ZstdError,
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


def is_litter(member: zipfile.ZipInfo) -> bool:
    """Return True for folders and for files that an operating system adds by itself."""
    parts = member.filename.replace("\\", "/").split("/")
    is_hidden = parts[-1].startswith("._") or any(part in _LITTER_FOLDERS for part in parts[:-1])
    # A broken archive may have a member without a name.
    if not member.filename or member.is_dir():
        return True
    return is_hidden or parts[-1].strip("\r").casefold() in _LITTER


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """Unpack a member up to `limit` bytes.

    Raises:
        BadZipFile: The member is broken, or one of the other errors of `BROKEN`.
        OSError: The file cannot be read, or the member's offset is outside the file.
    """
    pieces = _UNPACKERS.get(member.compress_type)
    if pieces is None:
        with archive.open(member) as file:
            return file.read(limit)
    content = bytearray()
    for piece in pieces(_packed(archive, member)):
        content += piece
        if len(content) >= limit:
            return bytes(content[:limit])
    if zlib.crc32(content) != member.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {member.filename!r}")
    return bytes(content)


def _packed(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the compressed bytes of a member."""
    file = archive.fp
    if file is None:
        raise zipfile.BadZipFile("The archive is closed")
    place, left = member.header_offset, member.compress_size
    file.seek(place)
    header = file.read(_LOCAL_BYTES)
    if len(header) < _LOCAL_BYTES or not header.startswith(_LOCAL_SIGNATURE):
        raise zipfile.BadZipFile(f"Bad header of file {member.filename!r}")
    place += _LOCAL_BYTES + sum(struct.unpack_from("<HH", header, _LOCAL_BYTES - 4))
    while left > 0:
        # Other members may be read in between.
        file.seek(place)
        piece = file.read(min(left, _CHUNK_BYTES))
        if not piece:
            raise EOFError("The archive ends within a member")
        place, left = place + len(piece), left - len(piece)
        yield piece


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflater = inflate64.Inflater()
    for piece in pieces:
        yield inflater.inflate(piece)
        if inflater.eof:
            return
    raise EOFError("The compressed data end early")


def _zstandard(pieces: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).decompressobj()
    for piece in pieces:
        yield decompressor.decompress(piece)


_UNPACKERS: dict[int, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    DEFLATE64: _inflated,
    ZSTANDARD: _zstandard,
    ZSTANDARD_OLD: _zstandard,
}


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
