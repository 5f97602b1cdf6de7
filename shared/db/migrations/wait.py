"""Wait until the tables are those of this version, or newer: `python -m shared.db.migrations.wait`.

On Kubernetes a new version's pods begin beside the job that migrates. Code that asks for a column
before it is there would fail message after message, and park them.
"""

import sys
import time
from collections.abc import Callable

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from shared.db.migrations.upgrade import revisions
from shared.db.session import open_engine
from shared.settings import DatabaseSettings

PAUSE_SECONDS = 2.0


def main() -> int:
    """Wait, and say for what; whoever started this decides when it has waited for too long."""
    engine = open_engine(DatabaseSettings())
    wait(engine, PAUSE_SECONDS, lambda line: print(line, flush=True))  # noqa: T201
    engine.dispose()
    return 0


def wait(engine: Engine, pause_seconds: float, tell: Callable[[str], None]) -> None:
    """Return once nothing is missing; what is missing is told when it changes."""
    told = ""
    while found := missing(engine):
        if found != told:
            tell(found)
        told = found
        time.sleep(pause_seconds)


def missing(engine: Engine) -> str:
    """Return the reason why this version cannot start, or an empty string."""
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        return f"The database does not answer: {type(error).__name__}"
    # What is not known here comes from a newer version; this one works on its tables too.
    newest, *earlier = revisions()
    if found is None or found in earlier:
        return f"Waiting for migration {newest}, found {found}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
