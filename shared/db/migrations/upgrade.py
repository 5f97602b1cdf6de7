"""Move a database between revisions."""

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
    # Alembic interpolates `%`, which stands in many passwords.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Apply the revisions up to one."""
    command.upgrade(alembic_config(url), revision)


@cache
def revisions() -> tuple[str, ...]:
    """Return the revisions that this version of Rayon contains, newest first."""
    script = ScriptDirectory.from_config(alembic_config(""))
    return tuple(one.revision for one in script.walk_revisions())


def is_of_a_newer_version(url: str) -> bool:
    """Return True if a newer version migrated the database; this version works on it too."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    return found is not None and found not in revisions()


def downgrade(url: str, revision: str = "base") -> None:
    """Take revisions back down to one."""
    command.downgrade(alembic_config(url), revision)
