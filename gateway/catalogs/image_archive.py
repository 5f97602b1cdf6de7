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

from shared.archives import BROKEN, open_archive
from shared.errors import ImageUnreadable, InvalidInput

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
_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
)
#: Files that operating systems add to archives.
_SYSTEM_FILES = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Refused:
    """An entry that is not read, and the reason."""

    name: str
    reason: str


class Archive:
    """The images of a ZIP archive by name: by the full path, or by the file name alone.

    Names are case-insensitive. A name shared by two different images is refused; their full paths
    still work.

    Args:
        file: The archive, open for reading.
        max_image_bytes: Size above which an image is refused.

    Raises:
        InvalidInput: The file is not a ZIP archive, or unpacks to more than the limit.
    """

    def __init__(self, file: BinaryIO, *, max_image_bytes: int) -> None:
        self._max_image_bytes = max_image_bytes
        self._zip = open_archive(file, MAX_ENTRIES, "`images`", field=("images",))
        entries = [entry for entry in self._zip.infolist() if not _is_system_file(entry)]
        _require_unpackable(entries)
        self._found: dict[str, zipfile.ZipInfo | Refused] = {}
        self._used: set[int] = set()
        self._stored: dict[int, tuple[str, float]] = {}
        self._entries = entries
        for entry in entries:
            self._index(entry)

    def find(self, name: str) -> zipfile.ZipInfo | Refused | None:
        """Return the entry of an image by name, and mark it as used."""
        found = self._found.get(_key(name))
        if isinstance(found, zipfile.ZipInfo):
            self._used.add(found.header_offset)
        return found

    def read(self, entry: zipfile.ZipInfo) -> bytes:
        """Unpack an image. Raises `ImageUnreadable` for a corrupt or falsely declared entry."""
        try:
            with self._zip.open(entry) as file:
                content = file.read(self._max_image_bytes + 1)
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
        unique = {found for found in self._found.values() if isinstance(found, Refused)}
        return sorted(unique, key=lambda refused: refused.name)

    def unused(self) -> Iterable[str]:
        """Iterate over the names of entries that were neither looked up nor refused."""
        refused = {entry.name for entry in self.refused()}
        return (
            entry.filename
            for entry in self._entries
            if entry.header_offset not in self._used and entry.filename not in refused
        )

    def _index(self, entry: zipfile.ZipInfo) -> None:
        reason = self._refusal(entry)
        found = Refused(entry.filename, reason) if reason else entry
        if len(entry.filename) > _NAME_CHARACTERS:
            # Cut just above the limit: the key saves memory and matches no accepted name.
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
                known.filename, "Expected one image by this name. Received: two different ones"
            )

    def _refusal(self, entry: zipfile.ZipInfo) -> str | None:
        """Return the reason why an entry is refused; `None` if it is accepted."""
        if len(entry.filename) > _NAME_CHARACTERS:
            return f"Expected a name of at most {_NAME_CHARACTERS} characters"
        path = _path(entry)
        if path.is_absolute() or ".." in path.parts:
            return "Expected a path inside the archive"
        if stat.S_ISLNK(entry.external_attr >> 16):
            return "Expected a file. Received: a link"
        if path.suffix.casefold() not in _SUFFIXES:
            return "Expected a file name with an image suffix, such as `.jpg`"
        if entry.flag_bits & _ENCRYPTED:
            return "Expected an unencrypted image. Received: an encrypted one"
        if entry.file_size > self._max_image_bytes:
            return f"Expected at most {self._max_image_bytes} bytes. Received: {entry.file_size}"
        if entry.file_size > max(_SMALL_BYTES, MAX_RATIO * entry.compress_size):
            return (
                f"Expected an image. Received: {entry.compress_size} bytes that unpack to "
                f"{entry.file_size}"
            )
        return None


def _require_unpackable(entries: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES:
        raise InvalidInput(
            f"Expected an archive that unpacks to at most {MAX_UNPACKED_BYTES} bytes. "
            f"Received: one that unpacks to {unpacked}",
            field=("images",),
        )


def _is_system_file(entry: zipfile.ZipInfo) -> bool:
    name = entry.filename
    return entry.is_dir() or name.startswith(_SYSTEM_FILES) or name.endswith(_SYSTEM_FILES)


def _is_same(one: zipfile.ZipInfo, other: zipfile.ZipInfo) -> bool:
    return (one.CRC, one.file_size) == (other.CRC, other.file_size)


def _path(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _key(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./").casefold()
