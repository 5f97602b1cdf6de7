"""Databases that hang: time limits of connections, and breakers of a gateway."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.breaker import Breaker
from shared.errors import Unavailable
from shared.settings import DatabaseSettings

if TYPE_CHECKING:
    from shared.db.postgresql import AnsweringConnection

#: Longest wait for a new connection to PostgreSQL, and for the lock of a probed SQLite, in seconds.
CONNECT_SECONDS, PROBE_SECONDS = 2, 1.0
#: A connection is dead if the other side has confirmed nothing for this long, in seconds: an idle
#: one after about `IDLE + INTERVAL * COUNT`, one with unconfirmed data after `UNCONFIRMED`. The
#: system's defaults are two hours and a quarter of an hour.
IDLE_SECONDS, INTERVAL_SECONDS, COUNT = 10, 5, 3
UNCONFIRMED_SECONDS = 20


@dataclass(frozen=True)
class Breakers:
    """Breakers of a database for reading and for writing.

    They differ with SQLite: a file that another process has locked can still be read.
    """

    reads: Breaker
    writes: Breaker


def breakers_of(settings: DatabaseSettings) -> Breakers:
    """Create the breakers of a database."""
    url = make_url(settings.url.get_secret_value())
    if url.get_backend_name() != "sqlite":
        from shared.db.postgresql import probe

        address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        breaker = Breaker("database", partial(probe, address, CONNECT_SECONDS))
        return Breakers(breaker, breaker)
    path = url.database or ""
    return Breakers(
        Breaker("database", partial(_probe_sqlite, path, "BEGIN")),
        Breaker("database", partial(_probe_sqlite, path, "BEGIN IMMEDIATE")),
    )


def is_stall(error: Unavailable) -> bool:
    """Return True for an error of a database that does not answer, rather than refuses."""
    cause = error.__cause__
    if isinstance(cause, PoolTimeout):
        return True
    original = cause.orig if isinstance(cause, DBAPIError) else None
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorname", "").startswith("SQLITE_BUSY")
    # PostgreSQL answers a lock or statement that takes too long with a code. Errors of SQLite have
    # no such attribute.
    return getattr(original, "sqlstate", "") is None


def postgresql_arguments(lock_seconds: float | None = None) -> dict[str, Any]:
    """Return the arguments of a connection that notices a dead network.

    Args:
        lock_seconds: Longest wait for a lock; `None` waits for as long as it takes.
    """
    options = f"-c lock_timeout={int(lock_seconds * 1000)}" if lock_seconds else ""
    return {
        **({"options": options} if options else {}),
        "connect_timeout": CONNECT_SECONDS,
        "keepalives": 1,
        "keepalives_idle": IDLE_SECONDS,
        "keepalives_interval": INTERVAL_SECONDS,
        "keepalives_count": COUNT,
        "tcp_user_timeout": UNCONFIRMED_SECONDS * 1000,
    }


def limit_waits(engine: Engine, seconds: float, breaker: Breaker) -> None:
    """End statements on a PostgreSQL that has stopped answering.

    No limit of the server ends them: a stopped process sends nothing, and its kernel confirms all.
    A statement may take as long as it needs while the server answers probes.

    Args:
        engine: Engine of a PostgreSQL.
        seconds: Silence after which the server is probed.
        breaker: Sends the probes; open while the server does not answer.
    """
    from shared.db.postgresql import AnsweringConnection, Silence

    def connect(
        _dialect: Dialect, _record: object, arguments: Any, options: Any
    ) -> "AnsweringConnection":
        connection = AnsweringConnection.connect(*arguments, **options)
        connection.is_dead = Silence(seconds, breaker).is_dead
        return connection

    event.listen(engine, "do_connect", connect)


def _probe_sqlite(path: str, begin: str) -> None:
    with closing(sqlite3.connect(path, timeout=PROBE_SECONDS, isolation_level=None)) as connection:
        connection.execute(begin)
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("ROLLBACK")
