"""Databases of a throw-away system: SQLite, or a PostgreSQL of its own."""

import json
import os
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy

from tests.bench.nights.accounts import Row, Rows, by_title
from tests.bench.nights.traffic import TITLE
from tests.bench.processes import family
from tests.support.servers import new_database, postgres_server

SQLITE, POSTGRES = "sqlite", "postgres"
QUERY = """
SELECT id, designation, status, error_code, result, prdtypecode, finished_at
FROM jobs WHERE designation LIKE :title
"""


@dataclass(frozen=True)
class Database:
    """Database of a system.

    Attributes:
        name: `sqlite` or `postgres`.
        url: Its URL.
        stalled: Makes it hang during a block.
    """

    name: str
    url: str
    stalled: Callable[[], AbstractContextManager[None]]

    def rows(self) -> Rows:
        """Return all jobs of the honest clients."""
        engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text(QUERY), {"title": f"{TITLE} %"}).all()
        return by_title(_row(*one) for one in found)


@contextmanager
def database(name: str, home: Path) -> Iterator[Database]:
    """Provide a database for a system with this home; PostgreSQL runs during the block."""
    if name == SQLITE:
        file = home / "rayon.db"
        yield Database(SQLITE, f"sqlite:///{file}", lambda: locked(file))
        return
    with ExitStack() as stack:
        # Not in the home, whose disk a fault fills: this server would be on another machine.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rayon-postgres-"))
        server = stack.enter_context(postgres_server(Path(folder)))
        url = stack.enter_context(new_database(server))
        pid = int(server.get_postmaster_info().pid)
        yield Database(POSTGRES, url, lambda: suspended(_postgres(pid)))


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the write lock of a SQLite database, as a backup tool or a person's shell may."""
    with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def suspended(processes: list[psutil.Process]) -> Iterator[None]:
    """Stop processes with SIGSTOP during the block."""
    _send(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(processes, signal.SIGCONT)


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _postgres(pid: int) -> list[psutil.Process]:
    # The server first, so that it starts no further process meanwhile.
    return family(psutil.Process(pid))


def _row(
    job: str, title: str, status: str, error: str | None, result: Any, code: Any, finished: Any
) -> Row:
    answer = json.loads(result) if isinstance(result, str) else result
    degraded = str((answer or {}).get("degraded") or "")
    return Row(str(job), title, status, error or "", degraded, (code, str(finished)))
