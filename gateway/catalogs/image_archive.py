"""Read images from an untrusted ZIP archive.

Nothing is unpacked to a path that the archive chooses: an image is read through its entry, up to a
limit of bytes, and stored under the digest of its content.
"""

import errno
import stat
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from shared.archives import BROKEN, METHODS, is_litter, open_archive, read_member
from shared.errors import ImageUnreadable, InvalidInput
from shared.image_formats import EMPTY, NAMES, SUFFIXES
from shared.image_names import NameIndex, names_of

#: Most entries of an archive: with 30 KB each, they fill the largest upload. An entry costs the
#: reader half a kilobyte of memory.
MAX_ENTRIES = 300_000
#: Unpacked size of all entries. The challenge's images have 2.2 GB.
MAX_UNPACKED_BYTES = 64 * 1024**3
#: Highest compression ratio. Images are compressed already, so a higher one means a ZIP bomb.
MAX_RATIO = 100
#: Size and TTL of the image URI cache. Entries expire because retention deletes images that have
#: not been stored again for a long time.
_CACHED_URIS = 50_000
_CACHED_SECONDS = 3600.0
#: The compression ratio of smaller entries is not limited.
_SMALL_BYTES = 1024 * 1024
#: Longest name of an entry, with its path.
_NAME_CHARACTERS = 1_000
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Refused:
    """An entry that is not read, and the reason."""

    name: str
    reason: str


SHARED = "Expected one image by this name. Received: two different ones"


class Archive:
    """The images of a ZIP archive, found by what a row calls them.

    A name shared by two different images is refused; their full paths still work.

    Args:
        file: The archive, open for reading.
        max_image_bytes: Size above which an image is refused.

    Raises:
        InvalidInput: The file is not a ZIP archive, or unpacks to more than the limit.
    """

    def __init__(self, file: BinaryIO, *, max_image_bytes: int) -> None:
        self._max_image_bytes = max_image_bytes
        self._zip = open_archive(file, MAX_ENTRIES, "`images`", field=("images",))
        entries = [entry for entry in self._zip.infolist() if not is_litter(entry)]
        _require_unpackable(entries)
        self._index: NameIndex[zipfile.ZipInfo] = NameIndex(_is_same)
        self._refused: dict[int, Refused] = {}
        self._used: set[int] = set()
        self._stored: dict[int, tuple[str, float]] = {}
        self._entries = entries
        for entry in entries:
            self._add(entry)

    def find(self, name: str) -> zipfile.ZipInfo | Refused | None:
        """Return the entry of an image by what a row calls it, and mark it as used."""
        found = self._index.find(name)
        if len(found) > 1:
            return Refused(found[0].filename, SHARED)
        if not found:
            return None
        if refused := self._refused.get(found[0].header_offset):
            return refused
        self._used.add(found[0].header_offset)
        return found[0]

    def read(self, entry: zipfile.ZipInfo) -> bytes:
        """Unpack an image. Raises `ImageUnreadable` for a corrupt or falsely declared entry."""
        try:
            content = read_member(self._zip, entry, self._max_image_bytes + 1)
        except (*BROKEN, MemoryError) as error:
            # `MemoryError`: an LZMA entry may request four gigabytes.
            raise ImageUnreadable(f"The archive's entry is corrupt: {error}") from error
        except OSError as error:
            # Raised for corrupt BZIP2 data (no errno) and for an offset before the beginning of the
            # file (EINVAL). Any other error number is a failure of the disk.
            if error.errno not in (None, errno.EINVAL):
                raise
            raise ImageUnreadable(f"The archive's entry is corrupt: {error}") from error
        if len(content) > self._max_image_bytes:
            raise ImageUnreadable(
                f"Expected at most {self._max_image_bytes} bytes. "
                "Received: more than the entry declares"
            )
        return content

    def stored(self, entry: zipfile.ZipInfo, store: Callable[[zipfile.ZipInfo], str]) -> str:
        """Return an image's URI; an image that many rows name is unpacked and stored once."""
        uri, until = self._stored.pop(entry.header_offset, ("", 0.0))
        if time.monotonic() >= until:
            uri, until = store(entry), time.monotonic() + _CACHED_SECONDS
        self._stored[entry.header_offset] = uri, until
        if len(self._stored) > _CACHED_URIS:
            del self._stored[next(iter(self._stored))]
        return uri

    def refused(self) -> list[Refused]:
        """Return the entries that are not read, each once, sorted by name."""
        return sorted({*self._refused.values()}, key=lambda refused: refused.name)

    def unused(self) -> Iterable[str]:
        """Iterate over the names of entries that were neither looked up nor refused."""
        known = self._used | self._refused.keys()
        return (entry.filename for entry in self._entries if entry.header_offset not in known)

    def _add(self, entry: zipfile.ZipInfo) -> None:
        reason = self._refusal(entry)
        if reason:
            self._refused[entry.header_offset] = Refused(entry.filename, reason)
        if len(entry.filename) > _NAME_CHARACTERS:
            return
        for name in names_of(entry):
            self._index.add(name, entry)

    def _refusal(self, entry: zipfile.ZipInfo) -> str | None:
        """Return the reason why an entry is refused; `None` if it is accepted."""
        return _refused_name(entry) or self._refused_content(entry)

    def _refused_content(self, entry: zipfile.ZipInfo) -> str | None:
        if entry.compress_type not in METHODS:
            known = ", ".join(dict.fromkeys(METHODS.values()))
            return f"Expected one of the compressions {known}. Received: {entry.compress_type}"
        if entry.flag_bits & _ENCRYPTED:
            return "Expected an unencrypted image. Received: an encrypted one"
        if not entry.file_size:
            return EMPTY
        if entry.file_size > self._max_image_bytes:
            return f"Expected at most {self._max_image_bytes} bytes. Received: {entry.file_size}"
        if entry.file_size > max(_SMALL_BYTES, MAX_RATIO * entry.compress_size):
            return (
                f"Expected an image. Received: {entry.compress_size} bytes that unpack to "
                f"{entry.file_size}"
            )
        return None


def _refused_name(entry: zipfile.ZipInfo) -> str | None:
    if len(entry.filename) > _NAME_CHARACTERS:
        return f"Expected a name of at most {_NAME_CHARACTERS} characters"
    path = _path(entry)
    if path.is_absolute() or ".." in path.parts:
        return "Expected a path inside the archive"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "Expected a file. Received: a link"
    if path.suffix.casefold() not in SUFFIXES:
        return f"Expected a file name with the suffix of an image ({NAMES}), such as `.jpg`"
    return None


def _require_unpackable(entries: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES:
        raise InvalidInput(
            f"Expected an archive that unpacks to at most {MAX_UNPACKED_BYTES} bytes. "
            f"Received: one that unpacks to {unpacked}",
            field=("images",),
        )


def _is_same(one: zipfile.ZipInfo, other: zipfile.ZipInfo) -> bool:
    return (one.CRC, one.file_size) == (other.CRC, other.file_size)


def _path(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))
