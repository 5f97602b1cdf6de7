"""A pod waits until the database has the tables of its version or a newer one."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from shared.db.migrations.upgrade import downgrade, revisions, upgrade
from shared.db.migrations.wait import main, missing, wait
from shared.db.session import open_engine
from shared.settings import DatabaseSettings


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield engine
    engine.dispose()


def test_pod_waits_until_the_database_is_migrated(database_url: str, engine: Engine) -> None:
    newest, before, *_ = revisions()
    lines: list[str] = []
    # Each printed line triggers the next migration.
    steps = [before, newest]

    def migrate_further(line: str) -> None:
        lines.append(line)
        upgrade(database_url, steps.pop(0))

    wait(engine, 0, migrate_further)
    assert lines == [
        f"Waiting for migration {newest}, found None",
        f"Waiting for migration {newest}, found {before}",
    ]


def test_pod_does_not_wait_for_a_migrated_database(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upgrade(database_url)
    monkeypatch.setenv("RAYON_DATABASE_URL", database_url)
    assert main() == 0
    assert capsys.readouterr().out == ""


def test_pod_does_not_wait_for_a_database_of_a_newer_version(
    database_url: str, engine: Engine
) -> None:
    upgrade(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert missing(engine) == ""


def test_pod_waits_for_a_downgraded_database(database_url: str, engine: Engine) -> None:
    upgrade(database_url)
    downgrade(database_url, revisions()[1])
    assert "found" in missing(engine)


def test_message_about_an_unreachable_database_has_no_password() -> None:
    url = SecretStr("postgresql+psycopg://rayon:hush@127.0.0.1:1/rayon")
    found = missing(open_engine(DatabaseSettings(url=url)))
    assert found.startswith("The database does not answer")
    assert "hush" not in found
