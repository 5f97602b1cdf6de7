"""The registry upgrades its tables to the installed MLflow before its server starts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import (
    _get_alembic_config,
    _get_latest_schema_revision,
    _get_schema_version,
    _verify_schema,
)
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import Engine, create_engine

PROJECT = Path(__file__).parents[2]
UPGRADE = PROJECT / "infra" / "mlflow" / "upgrade.py"
# The models of MLflow use a feature that SQLAlchemy has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")


class Registry:
    """A database of MLflow and its upgrade command."""

    def __init__(self, url: str, engine: Engine, folder: Path) -> None:
        self.url, self.engine = url, engine
        self._file = folder / "mlflow_database_url"
        self._file.write_text(url + "\n")

    def upgrade(self) -> subprocess.Popen[bytes]:
        """Start the upgrade that the image runs before its server."""
        tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {"PATH": tools, "MLFLOW_DATABASE_URL_FILE": str(self._file)}
        return subprocess.Popen([sys.executable, UPGRADE], env=os.environ | environment)

    def create_tables(self, revision: str) -> None:
        """Create the tables of an MLflow with this revision."""
        Base.metadata.create_all(self.engine)
        config = _get_alembic_config(self.url)
        with self.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    @property
    def revision(self) -> str | None:
        """Revision of the tables."""
        found: str | None = _get_schema_version(self.engine)
        return found


@pytest.fixture
def registry(database_url: str, tmp_path: Path) -> Iterator[Registry]:
    engine = create_engine(database_url)
    yield Registry(database_url, engine, tmp_path)
    engine.dispose()


def previous_revision() -> str:
    script = ScriptDirectory.from_config(_get_alembic_config(""))
    before = script.get_revision("head").down_revision
    assert isinstance(before, str)
    return before


def test_upgrade_creates_the_tables_of_an_empty_database(registry: Registry) -> None:
    assert registry.upgrade().wait(120) == 0
    assert registry.revision == _get_latest_schema_revision()


def test_concurrent_upgrades_both_succeed(postgres_url: str, tmp_path: Path) -> None:
    registry = Registry(postgres_url, create_engine(postgres_url), tmp_path)
    both = [registry.upgrade(), registry.upgrade()]
    assert [upgrade.wait(120) for upgrade in both] == [0, 0]
    assert registry.revision == _get_latest_schema_revision()
    registry.engine.dispose()


def test_tables_of_an_older_version_are_upgraded(registry: Registry) -> None:
    # Given tables that the server of this version rejects
    registry.create_tables(previous_revision())
    with pytest.raises(MlflowException, match="out-of-date database schema"):
        _verify_schema(registry.engine)
    # When they are upgraded, then the server accepts them
    assert registry.upgrade().wait(120) == 0
    _verify_schema(registry.engine)


def test_upgrade_fails_on_tables_of_a_newer_version(registry: Registry) -> None:
    registry.create_tables("heads")
    with registry.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'ffff'")
    assert registry.upgrade().wait(120) != 0
    assert registry.revision == "ffff"


def test_server_starts_only_after_a_successful_upgrade(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    for name in ("python", "uvicorn"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\necho "{name} $1" >>{calls}\nexit "${{CODE:-0}}"\n')
        tool.chmod(0o755)
    tools = f"{tmp_path}:{os.environ['PATH']}"
    environment = {"PATH": tools, "MLFLOW_DATABASE_URL_FILE": "/dev/null"}
    serve = ["sh", str(PROJECT / "infra" / "mlflow" / "serve.sh")]
    assert subprocess.run(serve, env=environment, check=False).returncode == 0
    assert calls.read_text().split("\n")[:2] == ["python /upgrade.py", "uvicorn --app-dir"]
    calls.unlink()
    assert subprocess.run(serve, env=environment | {"CODE": "1"}, check=False).returncode == 1
    assert calls.read_text() == "python /upgrade.py\n"
