"""Backup and restore of a PostgreSQL database with its own programs."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from infra.backup.manifest import BackupError

#: Printed after a complete dump, to tell a failed dump from a short one.
_DUMPED = "dumped"
_MIGRATION = "SELECT 'migration=' || version_num FROM alembic_version"


@dataclass(frozen=True)
class Postgres:
    """PostgreSQL database and the way to start its programs.

    Attributes:
        tables: What is counted.
        prefix: What comes before `psql`, such as `docker compose exec -T postgres`.
        variables: `PGHOST` and so on.
    """

    tables: Sequence[str]
    prefix: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> dict[str, Any]:
        """Dump the database and count the rows in one snapshot. Raises `BackupError`."""
        with path.open("wb") as out:
            errors = self._psql(_dump_script(self.tables), out)
        lines = errors.splitlines()
        if _DUMPED not in lines:
            raise BackupError(f"pg_dump failed: {errors.strip()[-600:]}")
        return _counts(lines)

    def restore(self, path: Path) -> None:
        """Restore a dump into an empty database atomically. Raises `BackupError`."""
        restoring = ["pg_restore", "--no-owner", "--single-transaction", "--exit-on-error"]
        with path.open("rb") as dump:
            ended = self._run([*restoring, "--dbname", self._name], stdin=dump)
        if ended.returncode:
            raise BackupError(f"pg_restore failed: {ended.stderr.decode().strip()[-600:]}")

    def counts(self) -> dict[str, Any]:
        """Return the current row counts. Raises `BackupError`."""
        return _counts(self._psql(_count_script(self.tables), None).splitlines())

    def is_empty(self) -> bool:
        """Return True if the database has no tables. Raises `BackupError`."""
        query = (
            "SELECT 'tables=' || count(*) FROM information_schema.tables "
            "WHERE table_schema = 'public' \\g | cat >&2\n"
        )
        return "tables=0" in self._psql(query, None).splitlines()

    def clear(self) -> None:
        """Delete all tables and data. Raises `BackupError`."""
        self._psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public;\n", None)

    @property
    def _name(self) -> str:
        return self.variables["PGDATABASE"]

    def _psql(self, script: str, out: BinaryIO | None) -> str:
        """Run a script and return its standard error."""
        options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        ended = self._run(["psql", *options], input=script.encode(), stdout=out)
        errors = ended.stderr.decode(errors="replace")
        if ended.returncode:
            raise BackupError(f"psql failed: {errors.strip()[-600:]}")
        return errors

    def _run(self, command: list[str], **how: Any) -> subprocess.CompletedProcess[bytes]:
        how = {"stdout": subprocess.DEVNULL, **{k: v for k, v in how.items() if v is not None}}
        if self.prefix:
            # The programs run in a container, so the variables are passed on the command line.
            said = [f"{name}={value}" for name, value in self.variables.items()]
            command = [*self.prefix, "env", *said, *command]
        return subprocess.run(
            command,
            env={**os.environ, **self.variables},
            stderr=subprocess.PIPE,
            check=False,
            **how,
        )


def _dump_script(tables: Sequence[str]) -> str:
    # Dump and counts share one snapshot, so concurrent writes do not matter.
    return (
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"
        "SELECT pg_export_snapshot() AS snapshot \\gset\n"
        "\\setenv SNAPSHOT :snapshot\n"
        f"{_count_script(tables)}"
        f'\\! pg_dump --format=custom --snapshot="$SNAPSHOT" && echo {_DUMPED} >&2\n'
        "COMMIT;\n"
    )


def _count_script(tables: Sequence[str]) -> str:
    # On standard error, since standard output is the dump.
    tell = " \\g | cat >&2\n"
    queries = [
        f"SELECT '{table}=' || count(*) FROM {table}{tell}"  # noqa: S608  # nosec B608  # constant names
        for table in tables
    ]
    return "".join([*queries, _MIGRATION, tell])


def _counts(lines: Sequence[str]) -> dict[str, Any]:
    pairs = dict(line.split("=", 1) for line in lines if "=" in line)
    return {
        name: int(value) if value.isdigit() and name != "migration" else value
        for name, value in pairs.items()
    }
