"""The revisions build exactly what the models say, on both databases."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Engine, inspect

from shared.db.migrations.upgrade import downgrade, upgrade
from shared.db.models import Base
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


def test_every_revision_can_be_taken_back(database_url: str, engine: Engine) -> None:
    upgrade(database_url)
    assert tables(engine) == set(Base.metadata.tables)
    downgrade(database_url)
    assert tables(engine) == set()
    upgrade(database_url)
    assert tables(engine) == set(Base.metadata.tables)


def test_migrating_twice_changes_nothing(database_url: str, engine: Engine) -> None:
    upgrade(database_url)
    before = tables(engine)
    upgrade(database_url)
    assert tables(engine) == before
