"""Databases at the newest revision, copied for each test instead of migrated again."""

import shutil
from pathlib import Path

import sqlalchemy
from sqlalchemy import URL, make_url

from shared.db.migrations.upgrade import upgrade

TEMPLATE = "rayon_migrated"


class MigratedDatabases:
    """A migrated database of each kind, made when the first test needs it.

    Args:
        folder: Folder of the SQLite database.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "migrated.db"
        self._has_template = False

    def copy_to(self, url: str) -> None:
        """Copy the migrated database to the address of an empty one."""
        target = make_url(url)
        if target.get_backend_name() == "sqlite":
            self._copy_file(Path(target.database or ""))
        else:
            self._copy_database(target)

    def _copy_file(self, target: Path) -> None:
        if not self._file.exists():
            upgrade(f"sqlite:///{self._file}")
        shutil.copyfile(self._file, target)

    def _copy_database(self, target: URL) -> None:
        admin = sqlalchemy.create_engine(
            target.set(database="postgres"), isolation_level="AUTOCOMMIT"
        )
        with admin.connect() as connection:
            if not self._has_template:
                connection.exec_driver_sql(f"CREATE DATABASE {TEMPLATE}")
                upgrade(target.set(database=TEMPLATE).render_as_string(hide_password=False))
                self._has_template = True
            connection.exec_driver_sql(f"DROP DATABASE {target.database}")
            connection.exec_driver_sql(f"CREATE DATABASE {target.database} TEMPLATE {TEMPLATE}")
        admin.dispose()
