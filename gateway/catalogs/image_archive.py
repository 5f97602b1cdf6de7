"""Reads images out of a ZIP archive that anybody may have made.

Nothing is unpacked to a path of the archive's choice: an image is read by its entry, a bounded
number of bytes, and stored by its content.
"""

import errno
import stat
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from shared.archives import BROKEN, open_archive
from shared.errors import ImageUnreadable, InvalidInput

#: More are a mistake or an attack: 30 KB each, they are the largest upload. Each costs the reader
#: half a kilobyte.
MAX_ENTRIES = 300_000
#: Of all entries, unpacked. The challenge's images are 2.2 GB.
MAX_UNPACKED_BYTES = 64 * 1024**3
#: An image is compressed already, so an entry that unpacks to far more is no image.
MAX_RATIO = 100
#: Images of which is known where they are stored, and for how long: an image that nobody stores
#: again is removed some day.
_REMEMBERED = 50_000
_REMEMBERED_SECONDS = 3600.0
_SMALL_BYTES = 1024 * 1024
#: Of an entry's name with its path.
_NAME_CHARACTERS = 1_000
_ENCRYPTED = 0x1
_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
)
#: What operating systems leave in archives.
_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Refused:
    """An entry that is not read, and why."""

    name: str
    reason: str


class Archive:
    """The images of a ZIP archive by name: by the whole path, or by the file name alone.

    Capital and small letters are the same. A name that stands for two different images is
    refused, unless the path tells them apart.

    Args:
        file: Open for reading.
        max_image_bytes: Larger images are refused.

    Raises:
        InvalidInput: Not a ZIP archive, or one that unpacks to more than we would read.
    """

    def __init__(self, file: BinaryIO, *, max_image_bytes: int) -> None:
        self._max_image_bytes = max_image_bytes
        self._zip = open_archive(file, MAX_ENTRIES, "`images`", field=("images",))
        entries = [entry for entry in self._zip.infolist() if not _is_litter(entry)]
        _require_sane(entries)
        self._found: dict[str, zipfile.ZipInfo | Refused] = {}
        self._used: set[int] = set()
        self._stored: dict[int, tuple[str, float]] = {}
        self._entries = entries
        for entry in entries:
            self._take(entry)

    def find(self, name: str) -> zipfile.ZipInfo | Refused | None:
        """Look an image up; remembers that somebody asked for it."""
        found = self._found.get(_key(name))
        if isinstance(found, zipfile.ZipInfo):
            self._used.add(found.header_offset)
        return found

    def read(self, entry: zipfile.ZipInfo) -> bytes:
        """Unpack an image. Raises `ImageUnreadable` for an entry that is broken or lies."""
        try:
            with self._zip.open(entry) as file:
                content = file.read(self._max_image_bytes + 1)
        except (*BROKEN, MemoryError) as error:
            # One that is packed with LZMA may ask for four gigabytes.
            raise ImageUnreadable(f"The archive's entry is broken: {error}") from error
        except OSError as error:
            # BZIP2 and a place before the file's beginning; another one is of the disk.
            if error.errno not in (None, errno.EINVAL):
                raise
            raise ImageUnreadable(f"The archive's entry is broken: {error}") from error
        if len(content) > self._max_image_bytes:
            raise ImageUnreadable(
                f"Expected at most {self._max_image_bytes} bytes. Received: more than it says"
            )
        return content

    def stored(self, entry: zipfile.ZipInfo, store: Callable[[zipfile.ZipInfo], str]) -> str:
        """Where an image is stored; one that many rows name is unpacked and stored once."""
        uri, until = self._stored.pop(entry.header_offset, ("", 0.0))
        if time.monotonic() >= until:
            uri, until = store(entry), time.monotonic() + _REMEMBERED_SECONDS
        self._stored[entry.header_offset] = uri, until
        if len(self._stored) > _REMEMBERED:
            del self._stored[next(iter(self._stored))]
        return uri

    def refused(self) -> list[Refused]:
        """What is not read, and why; an entry once."""
        unique = {found for found in self._found.values() if isinstance(found, Refused)}
        return sorted(unique, key=lambda one: one.name)

    def unused(self) -> Iterable[str]:
        """Entries that nobody asked for and that were not refused."""
        refused = {one.name for one in self.refused()}
        return (
            entry.filename
            for entry in self._entries
            if entry.header_offset not in self._used and entry.filename not in refused
        )

    def _take(self, entry: zipfile.ZipInfo) -> None:
        reason = self._fault(entry)
        found = Refused(entry.filename, reason) if reason else entry
        if len(entry.filename) > _NAME_CHARACTERS:
            # Its beginning, which is longer than any name that is taken.
            self._add(_key(entry.filename[: _NAME_CHARACTERS + 1]), found)
            return
        path, name = _key(entry.filename), _key(_path(entry).name)
        self._add(path, found)
        if name != path:
            self._add(name, found)

    def _add(self, key: str, found: zipfile.ZipInfo | Refused) -> None:
        known = self._found.setdefault(key, found)
        if known is found or isinstance(known, Refused):
            return
        if isinstance(found, Refused) or not _is_same(known, found):
            self._found[key] = Refused(
                known.filename, "Another entry has this name and other content"
            )

    def _fault(self, entry: zipfile.ZipInfo) -> str | None:
        """Why an entry is not read; `None` if nothing is wrong with it."""
        if len(entry.filename) > _NAME_CHARACTERS:
            return f"Expected a name of at most {_NAME_CHARACTERS} characters"
        path = _path(entry)
        if path.is_absolute() or ".." in path.parts:
            return "Expected a path inside of the archive"
        if stat.S_ISLNK(entry.external_attr >> 16):
            return "Expected a file. Received: a link"
        if path.suffix.casefold() not in _SUFFIXES:
            return "Expected an image by its name"
        if entry.flag_bits & _ENCRYPTED:
            return "Expected an image that can be read. Received: an encrypted one"
        if entry.file_size > self._max_image_bytes:
            return f"Expected at most {self._max_image_bytes} bytes. Received: {entry.file_size}"
        if entry.file_size > max(_SMALL_BYTES, MAX_RATIO * entry.compress_size):
            return f"Expected an image. Received: {entry.compress_size} bytes that unpack to " + (
                f"{entry.file_size}"
            )
        return None


def _require_sane(entries: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES:
        raise InvalidInput(
            f"Expected an archive that unpacks to at most {MAX_UNPACKED_BYTES} bytes. "
            f"Received: one of {unpacked}",
            field=("images",),
        )


def _is_litter(entry: zipfile.ZipInfo) -> bool:
    return entry.is_dir() or entry.filename.startswith(_LITTER) or entry.filename.endswith(_LITTER)


def _is_same(one: zipfile.ZipInfo, other: zipfile.ZipInfo) -> bool:
    return (one.CRC, one.file_size) == (other.CRC, other.file_size)


def _path(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _key(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./").casefold()
