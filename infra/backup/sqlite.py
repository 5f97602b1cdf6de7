"""Backup and restore of a SQLite database."""

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
    """SQLite database file.

    Attributes:
        file: Where it is.
        tables: What is counted.
    """

    file: Path
    tables: Sequence[str]

    def save(self, path: Path) -> dict[str, Any]:
        """Copy a snapshot of the database and count its rows. Raises `BackupError`."""
        if not self.file.exists():
            raise BackupError(f"Expected the database {self.file}. Received: no such file")
        with closing(sqlite3.connect(self.file)) as database:
            # Concurrent writes are allowed; the copy has no unused pages.
            database.execute("VACUUM INTO ?", (str(path),))
        return _counts(path, self.tables)

    def restore(self, path: Path) -> None:
        """Replace the database by a copy. Raises `BackupError`."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, self.file)

    def counts(self) -> dict[str, Any]:
        """Return the current row counts. Raises `BackupError`."""
        return _counts(self.file, self.tables)

    def is_empty(self) -> bool:
        """Return True if the file does not exist."""
        return not self.file.exists()

    def clear(self) -> None:
        """Delete the file and the journal files of SQLite."""
        for end in ("", "-wal", "-shm"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)


def _counts(file: Path, tables: Sequence[str]) -> dict[str, Any]:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            found: dict[str, Any] = {
                table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  # nosec B608  # constant names
                for table in tables
            }
            (found["migration"],) = database.execute(
                "SELECT version_num FROM alembic_version"
            ).fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{file} cannot be read: {error}") from error
    return found
