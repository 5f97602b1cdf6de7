"""Embedded system: the data under its home or at the configured places."""

import shutil
import tarfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import make_url

from infra.backup import stored
from infra.backup.manifest import BackupError
from infra.backup.postgres import Postgres
from infra.backup.sqlite import Sqlite
from infra.backup.system import RAYON_TABLES, REGISTRY_TABLES, counted, stored_in
from infra.embedded import preflight
from shared.errors import RayonError
from shared.settings import StorageSettings
from shared.storage import Storage

#: Files of the registry's folder except for its database, which has a backup of its own.
_DATABASE_FILES = ("mlflow.db", "mlflow.db-wal", "mlflow.db-shm")


class EmbeddedSystem:
    """Embedded system, backed up while running and restored while empty and stopped.

    Args:
        home: The folder of the instance.
        environment: Its settings, `RAYON_DATABASE_URL` and `RAYON_STORAGE_URL` among them.
    """

    name = "embedded"

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._home = home
        url = environment.get("RAYON_DATABASE_URL", f"sqlite:///{home / 'rayon.db'}")
        self._rayon = _database(url)
        self._end = "db" if isinstance(self._rayon, Sqlite) else "dump"
        self._registry = Sqlite(home / "mlflow" / "mlflow.db", REGISTRY_TABLES)
        place = environment.get("RAYON_STORAGE_URL", str(home / "storage"))
        self._storage = Storage(StorageSettings(url=place))

    def save(self, folder: Path) -> dict[str, Any]:
        """Back up everything to a folder and return the row counts. Raises `BackupError`."""
        self._save_stored(stored.save_unfinished, folder / "unfinished.tar")
        counts = {
            **counted("rayon", self._rayon.save(folder / f"rayon.{self._end}")),
            **counted("registry", self._registry.save(folder / "registry.db")),
        }
        _pack(self._home / "mlflow", folder / "artifacts.tar", without=_DATABASE_FILES)
        _pack(self._home / "secrets", folder / "secrets.tar")
        self._save_stored(stored.save, folder / "storage.tar")
        return counts

    def is_empty(self) -> bool:
        """Return True if there is neither a database nor a registry."""
        return self._rayon.is_empty() and self._registry.is_empty()

    def check(self, folder: Path) -> None:  # noqa: ARG002  # any backup goes here
        """Check that the system is stopped. Raises `BackupError` if it runs."""
        self._at_rest().close()

    def clear(self) -> None:
        """Remove databases, registry, storage and secrets. Raises `BackupError`."""
        with self._at_rest():
            self._rayon.clear()
            for name in ("mlflow", "secrets", "redis", "releases"):
                shutil.rmtree(self._home / name, ignore_errors=True)
            for file in list(self._storage.everything()):
                self._storage.remove(file.uri)

    def restore(self, folder: Path) -> None:
        """Restore everything into an empty system. Raises `BackupError`."""
        with self._at_rest():
            self._rayon.restore(folder / f"rayon.{self._end}")
            self._registry.restore(folder / "registry.db")
            _unpack(folder / "artifacts.tar", self._home / "mlflow")
            _unpack(folder / "secrets.tar", self._home / "secrets")
            (self._home / "secrets").chmod(0o700)
            for name in stored_in(folder):
                with (folder / name).open("rb") as archive:
                    stored.restore(self._storage, archive)

    def counts(self) -> dict[str, Any]:
        """Return the current row counts. Raises `BackupError`."""
        return {
            **counted("rayon", self._rayon.counts()),
            **counted("registry", self._registry.counts()),
        }

    def start_command(self) -> str:
        """Command that starts the system."""
        return "make run"

    def _save_stored(self, save: Callable[[Storage, BinaryIO], int], path: Path) -> None:
        try:
            with path.open("wb") as out:
                save(self._storage, out)
        except RayonError as error:
            raise BackupError(error.detail) from error

    def _at_rest(self) -> ExitStack:
        """Prevent the system from starting meanwhile. Raises `BackupError` if it runs."""
        held = ExitStack()
        try:
            held.enter_context(preflight.locked_home(self._home))
        except preflight.NotReady as error:
            raise BackupError(f"Stop the system first: {error}") from error
        return held


def _database(url: str) -> Sqlite | Postgres:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return Sqlite(Path(str(parsed.database)), RAYON_TABLES)
    given = {
        "PGHOST": parsed.host or parsed.query.get("host"),
        "PGPORT": parsed.port,
        "PGUSER": parsed.username,
        "PGPASSWORD": parsed.password,
        "PGDATABASE": parsed.database,
    }
    said = {name: str(value) for name, value in given.items() if value}
    return Postgres(RAYON_TABLES, variables=said)


def _pack(folder: Path, path: Path, without: tuple[str, ...] = ()) -> None:
    with tarfile.open(path, "w") as archive:
        for one in sorted(folder.iterdir()) if folder.is_dir() else ():
            if one.name not in without:
                archive.add(one, arcname=one.name)


def _unpack(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
