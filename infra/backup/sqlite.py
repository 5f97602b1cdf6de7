"""Saves and restores a SQLite database."""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.backup.manifest import BackupError


@dataclass(frozen=True)
class Sqlite:
    """A database file.

    Attributes:
        file: Where it is.
        tables: What is counted.
    """

    file: Path
    tables: Sequence[str]

    def save(self, path: Path) -> dict[str, Any]:
        """Copy the database as it is at one moment, and count its rows. Raises `BackupError`."""
        if not self.file.exists():
            raise BackupError(f"There is no database {self.file}")
        with closing(sqlite3.connect(self.file)) as database:
            # Others may write meanwhile; the copy has no unused pages.
            database.execute("VACUUM INTO ?", (str(path),))
        return _counts(path, self.tables)

    def restore(self, path: Path) -> None:
        """Put a copy where the database was. Raises `BackupError`."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, self.file)

    def counts(self) -> dict[str, Any]:
        """Count the rows now. Raises `BackupError`."""
        return _counts(self.file, self.tables)

    def is_empty(self) -> bool:
        """Whether there is no such file."""
        return not self.file.exists()

    def clear(self) -> None:
        """Remove the file, and what SQLite keeps beside it."""
        for end in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)


def _counts(file: Path, tables: Sequence[str]) -> dict[str, Any]:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            found: dict[str, Any] = {
                table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  # nosec B608  # names of our own
                for table in tables
            }
            (found["migration"],) = database.execute(
                "SELECT version_num FROM alembic_version"
            ).fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{file} cannot be read: {error}") from error
    return found
