"""Images of a dataset: files of a folder, or members of ZIP archives that stay packed.

An image is named by a reference, which is a path; one in an archive is `archive.zip!member`.
"""

import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Protocol

from PIL import Image, UnidentifiedImageError

from shared.archives import open_archive
from shared.errors import InvalidInput, NotFound
from shared.inference.preparation.image import FORMATS, MAX_PIXELS

#: Between an archive and its member, in a reference.
INSIDE = "!"
#: The challenge has 98,728 images; an archive with many more members is no catalog.
MAX_MEMBERS = 500_000
#: What an archive may unpack to; the challenge's images are 2.2 GB.
MAX_UNPACKED = 64 * 1024**3
#: What one image may unpack to. Members are read whole.
MAX_IMAGE = 64 * 1024**2
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Found:
    """An image that is there: how to read it, and its size in bytes."""

    reference: str
    size: int


class Images(Protocol):
    """Where the images of a dataset are."""

    def find(self, name: str) -> Found | None:
        """Look an image up by its name, or by its path below the root."""

    def read(self, name: str) -> bytes:
        """Read one image. Raises `NotFound`."""

    def __iter__(self) -> Iterator[str]:
        """The names of all images."""

    def __len__(self) -> int: ...


class _Named:
    """Images by path and, where that is unique enough, by file name."""

    def __init__(self, by_path: dict[str, Found]) -> None:
        self._by_path = by_path
        self._by_name = {path.rpartition("/")[2]: path for path in reversed(by_path)}

    def find(self, name: str) -> Found | None:
        path = name if name in self._by_path else self._by_name.get(name.rpartition("/")[2], "")
        return self._by_path.get(path)

    def read(self, name: str) -> bytes:
        found = self.find(name)
        if found is None:
            raise NotFound(f"No image {name!r}")
        return read_image(found.reference)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_path)

    def __len__(self) -> int:
        return len(self._by_path)


class FolderImages(_Named):
    """Files of a folder and those below it; a link that leads out is not followed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            {
                path.relative_to(folder).as_posix(): Found(str(path), path.stat().st_size)
                for path in sorted(folder.rglob("*"))
                if path.suffix != ".zip" and path.is_file() and not path.is_symlink()
            }
        )


class ZipImages(_Named):
    """Members of an archive, read one at a time.

    Raises:
        InvalidInput: Not an archive, or one that would not be safe to read.
    """

    def __init__(self, path: Path) -> None:
        members = [one for one in _members(path) if not one.is_dir()]
        _require_safe(path, members)
        super().__init__(
            {
                one.filename: Found(f"{path}{INSIDE}{one.filename}", one.file_size)
                for one in members
                if not one.filename.startswith("__MACOSX/")
            }
        )


class ManyImages:
    """Several places, looked at in order."""

    def __init__(self, places: list[Images]) -> None:
        self._places = places

    def find(self, name: str) -> Found | None:
        """Look an image up; the first place that has it counts."""
        return next((found for place in self._places if (found := place.find(name))), None)

    def read(self, name: str) -> bytes:
        """Read one image. Raises `NotFound`."""
        found = self.find(name)
        if found is None:
            raise NotFound(f"No image {name!r}")
        return read_image(found.reference)

    def __iter__(self) -> Iterator[str]:
        return (name for place in self._places for name in place)

    def __len__(self) -> int:
        return sum(len(place) for place in self._places)


def images_in(folder: Path, part: str = "") -> Images:
    """Images of a dataset's folder: `images/<part>/` or `images/`, `images/*.zip`, `images.zip`.

    Raises:
        InvalidInput: An archive cannot be read, or would not be safe to read.
    """
    loose = folder / "images" / part
    if not loose.is_dir():
        loose = folder / "images"
    archives = [*sorted((folder / "images").glob("*.zip")), folder / "images.zip"]
    places: list[Images] = [FolderImages(loose)] if loose.is_dir() else []
    places += [ZipImages(path) for path in archives if path.is_file()]
    return ManyImages(places)


def file_name(reference: str) -> str:
    """The bare file name of an image, wherever it lies."""
    return reference.rpartition(INSIDE)[2].rpartition("/")[2]


def read_image(reference: str) -> bytes:
    """Read an image by its reference.

    Raises:
        NotFound: It is not there (any more).
        InvalidInput: It lies in an archive that is broken.
    """
    try:
        with open_image(reference) as file:
            return file.read()
    except (OSError, KeyError) as error:
        raise NotFound(f"No image {reference!r}") from error
    except (zipfile.BadZipFile, RuntimeError, EOFError) as error:
        raise InvalidInput(f"The image {reference!r} cannot be unpacked: {error}") from error


def open_image(reference: str) -> IO[bytes]:
    """Open an image by its reference. Raises `OSError`, `KeyError` or `BadZipFile`."""
    archive, inside, member = reference.partition(f".zip{INSIDE}")
    return _archive(f"{archive}.zip").open(member) if inside else Path(reference).open("rb")


def is_readable(reference: str, *, deep: bool = False) -> bool:
    """Whether an image's header is that of an image; `deep` decodes it, at a hundred the time."""
    try:
        with open_image(reference) as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                return False
            if deep:
                image.load()
    except (OSError, KeyError, ValueError, SyntaxError, EOFError, RuntimeError):
        return False
    except (UnidentifiedImageError, Image.DecompressionBombError, zipfile.BadZipFile):
        return False
    return True


@lru_cache(maxsize=8)
def _archive(path: str) -> zipfile.ZipFile:
    # Kept open: reading the list of 85,000 members takes a second. Threads may share it.
    return zipfile.ZipFile(path)


def _members(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with path.open("rb") as file, open_archive(file, MAX_MEMBERS, path.name) as archive:
            return archive.infolist()
    except OSError as error:
        raise InvalidInput(f"Expected a ZIP archive as {path.name}. Received: {error}") from error


def _require_safe(path: Path, members: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(one.file_size for one in members)
    if unpacked > MAX_UNPACKED:
        raise InvalidInput(
            f"Expected {path.name} to unpack to at most {MAX_UNPACKED} bytes. Received: {unpacked}"
        )
    for one in members:
        reason = _unsafe(one)
        if reason:
            raise InvalidInput(
                f"Expected images in {path.name}. Received: {one.filename!r}, {reason}"
            )


def _unsafe(member: zipfile.ZipInfo) -> str:
    parts = member.filename.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
        return "which lies outside the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "which is a link"
    if member.flag_bits & _ENCRYPTED:
        return "which is encrypted"
    return f"of {member.file_size} bytes" if member.file_size > MAX_IMAGE else ""
