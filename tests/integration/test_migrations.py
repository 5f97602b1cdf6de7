"""The revisions create exactly the tables of the models, on both databases."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Engine, MetaData, func, inspect, select

from shared.db.migrations.__main__ import main
from shared.db.migrations.upgrade import downgrade, is_of_a_newer_version, upgrade
from shared.db.models import Base, Job, now
from shared.db.session import open_engine
from shared.settings import DatabaseSettings


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(DatabaseSettings(url=SecretStr(database_url)))
    yield engine
    engine.dispose()


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def test_migrated_database_equals_the_models(database_url: str, engine: Engine) -> None:
    upgrade(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_every_revision_can_be_downgraded(database_url: str, engine: Engine) -> None:
    upgrade(database_url)
    assert tables(engine) == set(Base.metadata.tables)
    downgrade(database_url)
    assert tables(engine) == set()
    upgrade(database_url)
    assert tables(engine) == set(Base.metadata.tables)


def test_rows_survive_all_upgrades_and_downgrades(database_url: str, engine: Engine) -> None:
    # Given a job with its score in the tables of the first revision
    upgrade(database_url, "0001")
    old = MetaData()
    old.reflect(engine, only=("users", "jobs", "scores"))
    with engine.begin() as connection:
        moments: dict[str, Any] = {
            name: now() for name in ("created_at", "published_at", "leased_until")
        }
        user: dict[str, Any] = {"id": "u", "username": "ada", "password_hash": "", "role": "client"}
        job: dict[str, Any] = {
            "id": "j",
            "user_id": "u",
            "trace_id": "t",
            "lane": "interactive",
            "model": "text",
        }
        job |= {"release": "1", "designation": "", "description": "", "status": "done"}
        job |= {"wants_text": True, "wants_image": False, "attempts": 0, **moments}
        score = {"job_id": "j", "modality": "text", "release": "1", "scored_at": now()}
        user |= {"is_active": True, "created_at": now()}
        for name, row in (("users", user), ("jobs", job), ("scores", score)):
            connection.execute(old.tables[name].insert(), row)
    # Then both still exist after all upgrades and after all downgrades
    for move in (upgrade, partial(downgrade, revision="0001")):
        move(database_url)
        with engine.connect() as connection:
            for name in ("jobs", "scores"):
                query = select(func.count()).select_from(old.tables[name])
                assert connection.scalar(query) == 1, name


def test_labels_get_the_account_that_existed_when_they_were_set(
    database_url: str, engine: Engine
) -> None:
    # Given labels of an account, and of one whose name was given to a later account
    upgrade(database_url, "0007")
    old = MetaData()
    old.reflect(engine, only=("users", "jobs"))
    with engine.begin() as connection:
        for name, age in (("olga", 3), ("eve", 1)):
            user: dict[str, Any] = {
                "id": name,
                "username": name,
                "password_hash": "",
                "role": "operator",
            }
            user |= {"is_active": True, "created_at": now() - timedelta(days=age)}
            connection.execute(old.tables["users"].insert(), user)
        for author in ("olga", "eve", "gone"):
            job: dict[str, Any] = {"id": author, "user_id": "olga", "trace_id": "t", "lane": "x"}
            job |= {"model": "text", "release": "1", "designation": "", "description": ""}
            job |= {"wants_text": True, "wants_image": False, "status": "done", "attempts": 0}
            job |= {name: now() for name in ("created_at", "published_at", "leased_until")}
            job |= {"label": 10, "labelled_by": author, "labelled_at": now() - timedelta(days=2)}
            connection.execute(old.tables["jobs"].insert(), job)
    # Then only the label of the account that is older than it has an author
    upgrade(database_url)
    with engine.connect() as connection:
        found = connection.execute(select(Job.id, Job.labelled_by_id)).all()
    assert {row.id: row.labelled_by_id for row in found} == {
        "olga": "olga",
        "eve": None,
        "gone": None,
    }


def test_second_upgrade_changes_nothing(database_url: str, engine: Engine) -> None:
    upgrade(database_url)
    before = tables(engine)
    upgrade(database_url)
    assert tables(engine) == before


def test_older_version_does_not_change_the_tables_of_a_newer_one(
    database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(database_url)
    assert not is_of_a_newer_version(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert is_of_a_newer_version(database_url)
    monkeypatch.setenv("RAYON_DATABASE_URL", database_url)
    assert main() == 0
    assert tables(engine) == set(Base.metadata.tables)
