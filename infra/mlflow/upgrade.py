"""Migrate the registry's tables to the installed MLflow: `python upgrade.py`.

MLflow's server makes tables that are missing, but where one is to be changed it only says so and
ends. What was changed has no way back but a restore: an older MLflow refuses newer tables.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, func, select


def main() -> int:
    """Upgrade the database of MLFLOW_DATABASE_URL_FILE and return the exit code."""
    url = Path(os.environ["MLFLOW_DATABASE_URL_FILE"]).read_text().strip()
    with turn(url):
        # Creates the tables of an empty database; an up-to-date database stays unchanged.
        return subprocess.run(["mlflow", "db", "upgrade", url], check=False).returncode


@contextmanager
def turn(url: str) -> Iterator[None]:
    """Wait for concurrent upgrades: during a rollout two instances start at once."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                name = func.hashtextextended("mlflow", 0)
                connection.execute(select(func.pg_advisory_lock(name)))
            yield
    finally:
        # Closing the connection releases its lock.
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
