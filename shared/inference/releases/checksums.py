"""Size and SHA-256 of each file of a release, in `checksums.json` beside its manifest."""

import hashlib
from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import InvalidInput

CHECKSUMS = "checksums.json"


class FileSum(BaseModel):
    """Size and SHA-256 (hex) of one file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileSum":
        """Read a file."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        return cls(bytes=path.stat().st_size, sha256=digest.hexdigest())


class Checksums(BaseModel):
    """The files of a release, by path relative to its folder.

    A file of its own instead of a field of the manifest: earlier versions of Rayon refuse a
    manifest with unknown fields.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    files: dict[str, FileSum]

    @classmethod
    def of(cls, folder: Path) -> "Checksums":
        """Compute the checksums of a folder."""
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        names = {path.relative_to(folder).as_posix(): path for path in paths}
        names.pop(CHECKSUMS, None)
        return cls(files={name: FileSum.of(path) for name, path in names.items()})

    @classmethod
    def read(cls, folder: Path) -> "Checksums | None":
        """Read the recorded checksums of a folder; `None` if none were recorded.

        Raises:
            InvalidInput: The file is broken.
        """
        path = folder / CHECKSUMS
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise InvalidInput(f"{path} does not list checksums") from error

    @property
    def content(self) -> str:
        """The content of `checksums.json`."""
        return self.model_dump_json(indent=1) + "\n"

    def fault(self, folder: Path, names: Collection[str] = ()) -> str | None:
        """Compare a folder with the recorded checksums.

        Args:
            folder: A copy of the release.
            names: The files to compare; all without names.

        Returns:
            What the first file that differs should be and is, or `None` if all are as recorded.
        """
        for name, expected in self.files.items():
            if names and name not in names:
                continue
            if (difference := _difference(folder / name, expected)) is not None:
                return f"{name}: {difference}"
        return None


def _difference(path: Path, expected: FileSum) -> str | None:
    try:
        size = path.stat().st_size
        if size != expected.bytes:
            return f"Expected {expected.bytes:,} bytes. Received: {size:,}"
        received = FileSum.of(path).sha256
    except OSError as error:
        return f"Expected a readable file. Received: {error.strerror}"
    if received == expected.sha256:
        return None
    return f"Expected the SHA-256 {expected.sha256}. Received: {received}"
