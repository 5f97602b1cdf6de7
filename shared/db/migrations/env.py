"""Alembic environment: connect and run the revisions."""

from typing import Literal

from alembic import context
from pydantic import SecretStr
from sqlalchemy import event

from shared.db.models import Base, UtcDateTime
from shared.db.session import open_engine
from shared.settings import DatabaseSettings


def render(kind: str, item: object, _autogenerate: object) -> str | Literal[False]:
    """Render `UtcDateTime` as a standard type, so that revisions do not depend on Rayon's code."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


url = context.config.get_main_option("sqlalchemy.url") or ""
engine = open_engine(DatabaseSettings(url=SecretStr(url)))
if engine.dialect.name == "sqlite":
    # Batch mode copies a table and drops the original; with foreign keys on, the drop would delete
    # the rows that refer to it.
    event.listen(engine, "connect", lambda raw, _record: raw.execute("PRAGMA foreign_keys=OFF"))

with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_item=render,
        # SQLite cannot alter a column, so Alembic has to copy the table.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
