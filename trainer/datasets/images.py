"""Images of a dataset: files of a folder, or members of ZIP archives that stay packed.

A reference identifies an image: a path, or `archive.zip!member` for a member of an archive.
"""

import filecmp
import io
import re
import stat
import threading
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Protocol

from PIL import Image, UnidentifiedImageError

from shared.archives import (
    BROKEN,
    DEFLATE64,
    ZSTANDARD,
    ZSTANDARD_OLD,
    is_litter,
    open_archive,
    read_member,
)
from shared.errors import InvalidInput, NotFound
from shared.image_names import NameIndex, names_of
from shared.inference.preparation.decoders import prepare
from shared.inference.preparation.image import FORMATS, MAX_PIXELS
from shared.tables.unpack import TABLE_SUFFIXES
from trainer.datasets.layout import image_archives, image_folders

#: Separates archive and member in a reference.
MEMBER_SEPARATOR = "!"
#: The challenge has 98,728 images; an archive with many more members is not a dataset.
MAX_MEMBERS = 500_000
#: Unpacked size limit of an archive; the challenge's images are 2.2 GB.
MAX_UNPACKED = 64 * 1024**3
#: Unpacked size limit of one image, since members are read into memory whole.
MAX_IMAGE = 64 * 1024**2
#: Width and height at which a deep check decodes an image, as most networks read it.
CHECKED_SIZE = 299
_ENCRYPTED = 0x1
_PACKED = re.compile(
    rf"(?P<archive>.*?\.zip){MEMBER_SEPARATOR}(?P<member>.*)", re.DOTALL | re.IGNORECASE
)
_NO_IMAGES = (*TABLE_SUFFIXES, ".zip")


#: Compression methods that `zipfile` does not read.
_OTHERS = (DEFLATE64, ZSTANDARD, ZSTANDARD_OLD)
#: Held while a member of these is read: `read_member` moves the position of the file.
_READING = threading.Lock()


@dataclass(frozen=True)
class FoundImage:
    """Reference and size in bytes of an existing image; the checksum of a member of an archive."""

    reference: str
    size: int
    checksum: int | None = None

    def is_same(self, other: "FoundImage") -> bool:
        """Return True if another image has the same content."""
        if self.size != other.size or self.checksum != other.checksum:
            return False
        return self.checksum is not None or filecmp.cmp(
            self.reference, other.reference, shallow=False
        )


class Images(Protocol):
    """Source of a dataset's images."""

    def find(self, name: str) -> FoundImage | None:
        """Look an image up by what a row calls it: a path, a file name, an address or a number.

        Of different images that share a name, none is found by it.
        """

    def read(self, name: str) -> bytes:
        """Read one image. Raises `NotFound`."""

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of all images."""

    def __len__(self) -> int: ...


class _IndexedImages:
    """Images by the names that rows may give them.

    Args:
        images: Each image with the names that it may have, the first one its own.
    """

    def __init__(self, images: Iterable[tuple[tuple[str, ...], FoundImage]]) -> None:
        self._names: list[str] = []
        self._index: NameIndex[FoundImage] = NameIndex(FoundImage.is_same)
        for names, image in images:
            self._names.append(names[0])
            for name in names:
                self._index.add(name, image)

    def find(self, name: str) -> FoundImage | None:
        found = self._index.find(name)
        return found[0] if len(found) == 1 else None

    def read(self, name: str) -> bytes:
        found = self.find(name)
        if found is None:
            raise NotFound(f"No image {name!r}")
        return read_image(found.reference)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class FolderImages(_IndexedImages):
    """Files of a folder and its subfolders; symbolic links are not followed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            ((path.relative_to(folder).as_posix(),), FoundImage(str(path), path.stat().st_size))
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() not in _NO_IMAGES and path.is_file() and not path.is_symlink()
        )


class ZipImages(_IndexedImages):
    """Members of an archive, read one at a time.

    Raises:
        InvalidInput: Not an archive, or one that is not safe to read.
    """

    def __init__(self, path: Path) -> None:
        members = [member for member in _members(path) if not member.is_dir()]
        _require_safe(path, members)
        super().__init__(
            (
                names_of(member),
                FoundImage(
                    f"{path}{MEMBER_SEPARATOR}{member.filename}", member.file_size, member.CRC
                ),
            )
            for member in members
            if not is_litter(member) and Path(member.filename).suffix.lower() not in _NO_IMAGES
        )


class CombinedImages:
    """Several sources, searched in order."""

    def __init__(self, sources: list[Images]) -> None:
        self._sources = sources

    def find(self, name: str) -> FoundImage | None:
        """Look an image up; the first source that has it counts."""
        return next((found for source in self._sources if (found := source.find(name))), None)

    def read(self, name: str) -> bytes:
        """Read one image. Raises `NotFound`."""
        found = self.find(name)
        if found is None:
            raise NotFound(f"No image {name!r}")
        return read_image(found.reference)

    def __iter__(self) -> Iterator[str]:
        return (name for source in self._sources for name in source)

    def __len__(self) -> int:
        return sum(len(source) for source in self._sources)


def images_in(folder: Path, part: str = "") -> Images:
    """Index the images of a dataset.

    They are in `images/<part>/` or `images/`, `images/*.zip`, `images.zip`; beside a table of
    another name, anywhere in its folder or in its archives; or in the archive of the table.

    Args:
        folder: Dataset: a folder, or its table.
        part: Folder of one part of the images.

    Raises:
        InvalidInput: An archive cannot be read, or is not safe to read.
    """
    sources: list[Images] = []
    for loose in image_folders(folder):
        inner = loose / part
        sources.append(FolderImages(inner if inner.is_dir() else loose))
    return CombinedImages([*sources, *map(ZipImages, image_archives(folder))])


def file_name(reference: str) -> str:
    """Return the file name in a reference, without folder or archive."""
    return reference.rpartition(MEMBER_SEPARATOR)[2].rpartition("/")[2]


def read_image(reference: str) -> bytes:
    """Read an image by its reference.

    Raises:
        NotFound: The image does not exist (any more).
        InvalidInput: The image is in a broken archive.
    """
    try:
        with open_image(reference) as file:
            return file.read()
    except (OSError, KeyError) as error:
        raise NotFound(f"No image {reference!r}") from error
    except BROKEN as error:
        raise InvalidInput(f"The image {reference!r} cannot be unpacked: {error}") from error


def open_image(reference: str) -> IO[bytes]:
    """Open an image by its reference. Raises `OSError`, `KeyError` or an error of `BROKEN`."""
    packed = _PACKED.fullmatch(reference)
    if packed is None:
        return Path(reference).open("rb")
    archive = _archive(packed["archive"])
    member = archive.getinfo(packed["member"])
    if member.compress_type not in _OTHERS:
        return archive.open(member)
    with _READING:
        return io.BytesIO(read_member(_other_archive(packed["archive"]), member, MAX_IMAGE))


def is_readable(reference: str, *, deep: bool = False) -> bool:
    """Return True if a file has an image's header; `deep` decodes it, about 100 times slower.

    The header is read in this process: that takes no more than the file's size suggests.
    """
    return _has_header(reference) and (not deep or _decodes(reference))


def _has_header(reference: str) -> bool:
    try:
        with open_image(reference) as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            return width * height <= MAX_PIXELS
    except (OSError, KeyError, SyntaxError, *BROKEN):
        return False
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return False


def _decodes(reference: str) -> bool:
    try:
        prepare(read_image(reference), CHECKED_SIZE)
    except (InvalidInput, NotFound):
        return False
    return True


@lru_cache(maxsize=8)
def _archive(path: str) -> zipfile.ZipFile:
    # Kept open because listing 85,000 members takes a second. Threads may share the object.
    return zipfile.ZipFile(path)


@lru_cache(maxsize=8)
def _other_archive(path: str) -> zipfile.ZipFile:
    # With a position of its own, which no thread moves that reads by `zipfile`.
    return zipfile.ZipFile(path)


def _members(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with path.open("rb") as file, open_archive(file, MAX_MEMBERS, path.name) as archive:
            return archive.infolist()
    except OSError as error:
        raise InvalidInput(f"Expected a ZIP archive as {path.name}. Received: {error}") from error


def _require_safe(path: Path, members: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(member.file_size for member in members)
    if unpacked > MAX_UNPACKED:
        raise InvalidInput(
            f"Expected {path.name} to unpack to at most {MAX_UNPACKED} bytes. Received: {unpacked}"
        )
    for member in members:
        reason = _unsafe(member)
        if reason:
            raise InvalidInput(
                f"Expected images in {path.name}. Received: {member.filename!r}, {reason}"
            )


def _unsafe(member: zipfile.ZipInfo) -> str:
    parts = member.filename.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
        return "which is a path outside the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "which is a link"
    if member.flag_bits & _ENCRYPTED:
        return "which is encrypted"
    return f"of {member.file_size} bytes" if member.file_size > MAX_IMAGE else ""
