"""A pod of a new version begins once the tables are its own, or newer."""

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


def test_database_is_waited_for_until_it_is_migrated(database_url: str, engine: Engine) -> None:
    newest, before, *_ = revisions()
    told: list[str] = []
    # The next step is done whenever it was told what is missing.
    steps = [before, newest]

    def migrate_further(line: str) -> None:
        told.append(line)
        upgrade(database_url, steps.pop(0))

    wait(engine, 0, migrate_further)
    assert told == [
        f"Waiting for migration {newest}, found None",
        f"Waiting for migration {newest}, found {before}",
    ]


def test_migrated_database_is_not_waited_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upgrade(database_url)
    monkeypatch.setenv("RAYON_DATABASE_URL", database_url)
    assert main() == 0
    assert capsys.readouterr().out == ""


def test_database_of_a_newer_version_is_not_waited_for(database_url: str, engine: Engine) -> None:
    upgrade(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert missing(engine) == ""


def test_database_that_was_taken_back_is_waited_for(database_url: str, engine: Engine) -> None:
    upgrade(database_url)
    downgrade(database_url, revisions()[1])
    assert "found" in missing(engine)


def test_database_that_does_not_answer_is_waited_for_and_its_password_not_told() -> None:
    url = SecretStr("postgresql+psycopg://rayon:hush@127.0.0.1:1/rayon")
    found = missing(open_engine(DatabaseSettings(url=url)))
    assert found.startswith("The database does not answer")
    assert "hush" not in found
