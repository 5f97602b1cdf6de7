"""Wait for the tables of this version or a newer one: `python -m shared.db.migrations.wait`.

On Kubernetes the pods of a new version start at the same time as the migration job. Code that
queries a column before it exists would fail and park message after message.
"""

import time
from collections.abc import Callable

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from shared.db.migrations.upgrade import revisions
from shared.db.session import open_engine
from shared.invalid_settings import run_program
from shared.settings import DatabaseSettings

PAUSE_SECONDS = 2.0


def main() -> int:
    """Wait without a time limit, and print the reason; the caller sets the limit."""
    engine = open_engine(DatabaseSettings())
    wait(engine, PAUSE_SECONDS, lambda line: print(line, flush=True))  # noqa: T201
    engine.dispose()
    return 0


def wait(engine: Engine, pause_seconds: float, report: Callable[[str], None]) -> None:
    """Return once no migration is missing; report the reason for waiting when it changes."""
    reported = ""
    while found := missing(engine):
        if found != reported:
            report(found)
        reported = found
        time.sleep(pause_seconds)


def missing(engine: Engine) -> str:
    """Return the reason why this version cannot start, or an empty string."""
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        return f"The database does not answer: {type(error).__name__}"
    # An unknown revision belongs to a newer version, whose tables this version can use.
    newest, *earlier = revisions()
    if found is None or found in earlier:
        return f"Waiting for migration {newest}, found {found}"
    return ""


if __name__ == "__main__":
    run_program(main)
