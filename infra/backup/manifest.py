"""Manifest of a backup: row counts and a checksum of each file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NAME = "manifest.json"
_PIECE_BYTES = 1024 * 1024


class BackupError(Exception):
    """Failed backup or restore."""


@dataclass(frozen=True)
class Manifest:
    """Manifest of a backup, read before anything else.

    Attributes:
        made_at: When it was begun, ISO 8601.
        system: `embedded` or `compose`; one is not restored into the other.
        counts: Rows by database and table, as `rayon.jobs`; `rayon.migration` is a name.
        files: Size and SHA-256 of every other file.
    """

    made_at: str
    system: str
    counts: dict[str, Any]
    files: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, folder: Path, made_at: datetime, system: str, counts: Mapping[str, Any]) -> None:
        """Compute the manifest of a backup and write it to its folder."""
        files = {
            str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": _digest(path)}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        found = cls(made_at.astimezone(UTC).isoformat(), system, dict(counts), files)
        (folder / NAME).write_text(json.dumps(asdict(found), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest and verify every file. Raises `BackupError`."""
        try:
            found = cls(**json.loads((folder / NAME).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise BackupError(f"{folder} is not a backup: {error}") from error
        for name, said in found.files.items():
            path = folder / name
            if not path.is_file():
                raise BackupError(f"{path} is missing")
            if _digest(path) != said["sha256"]:
                raise BackupError(f"{path} differs from the backup: its checksum does not match")
        return found


def _digest(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            content.update(piece)
    return content.hexdigest()
