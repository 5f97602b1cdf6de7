"""Upgrade and downgrade of a database."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine


def alembic_config(url: str) -> Config:
    """Configure Alembic for one database, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    # Alembic interpolates `%`, which passwords may contain.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Apply all revisions up to the given one."""
    command.upgrade(alembic_config(url), revision)


@cache
def revisions() -> tuple[str, ...]:
    """Return the revisions that this version of Rayon contains, newest first."""
    script = ScriptDirectory.from_config(alembic_config(""))
    return tuple(entry.revision for entry in script.walk_revisions())


def is_of_a_newer_version(url: str) -> bool:
    """Return True if a newer version migrated the database, which stays usable for this one."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    return found is not None and found not in revisions()


def downgrade(url: str, revision: str = "base") -> None:
    """Revert all revisions down to the given one."""
    command.downgrade(alembic_config(url), revision)
