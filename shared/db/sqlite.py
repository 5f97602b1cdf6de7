"""Connections to SQLite: a write-ahead log, and writers that wait for their turn.

SQLite has one writer at a time. Its own wait sleeps for 1, 2, 5, 10, up to 100 ms between two
tries (`sqlite3_busy_timeout`), which is longer than most transactions last. Here the wait for the
write lock tries more often, with one thread of a process at a time.
"""

import sqlite3
import threading
import time
from typing import Any

from sqlalchemy import Connection, Engine, event

#: Execution option of connections that only read.
READ_ONLY = "rayon_read_only"
#: Pause between two tries to become the writer, in seconds.
PAUSE_SECONDS = 0.001


def prepare_sqlite(engine: Engine, answer_seconds: float) -> None:
    """Prepare all connections of an engine.

    Args:
        engine: An engine of SQLite.
        answer_seconds: Longest wait for another writer.
    """
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _Begin(answer_seconds))


def _prepare(connection: Any, _record: object) -> None:
    # The driver starts transactions too late and never with BEGIN IMMEDIATE; `_Begin` does.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


class _Begin:
    """Starts the transactions of an engine.

    A transaction that reads first and writes later would fail with "database is locked" if another
    one wrote in between; with the write lock from the start it waits instead. This lock also makes
    the join of two modalities safe, since SQLite has no row locks.
    """

    def __init__(self, answer_seconds: float) -> None:
        self._answer_seconds = answer_seconds
        self._turn = threading.Lock()

    def __call__(self, connection: Connection) -> None:
        if connection.get_execution_options().get(READ_ONLY, False):
            connection.exec_driver_sql("BEGIN")
            return
        until = time.monotonic() + self._answer_seconds
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA busy_timeout = 0")
        try:
            if not self._is_begun(driver, until):
                # Raises the error of a database that is still locked, as SQLAlchemy's.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            driver.execute(f"PRAGMA busy_timeout = {int(1000 * self._answer_seconds)}")

    def _is_begun(self, driver: Any, until: float) -> bool:
        """Try to become the writer; return False if it took too long or failed for good."""
        if not self._turn.acquire(timeout=max(0.0, until - time.monotonic())):
            return False
        try:
            while True:
                try:
                    driver.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                    if not is_busy or time.monotonic() >= until:
                        return False
                else:
                    return True
                time.sleep(PAUSE_SECONDS)
        finally:
            self._turn.release()
