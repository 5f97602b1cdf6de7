"""Transactions: one unit of work a request or message; commit the rows, then send messages."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from shared import metrics
from shared.broker import Publisher
from shared.contracts import Message
from shared.errors import Unavailable
from shared.settings import DatabaseSettings

log = structlog.get_logger(__name__)

#: A writer waits this long for the one before it (SQLite has one writer at a time).
BUSY_SECONDS = 20


@dataclass
class Work:
    """One transaction: rows now, messages after the commit."""

    session: Session
    messages: list[Message] = field(default_factory=list)

    def publish(self, message: Message) -> None:
        """Send a message once the rows are committed."""
        self.messages.append(message)


@dataclass(frozen=True)
class UnitOfWork:
    """Opens transactions: `with unit_of_work() as work: …` commits, then sends.

    A message that cannot be sent is not an error for the caller: the rows say what is unfinished,
    and the sweeper sends it when the queue is back.
    """

    engine: Engine
    publisher: Publisher

    @contextmanager
    def __call__(self) -> Iterator[Work]:
        """Open a transaction that may write.

        Raises:
            Unavailable: The database does not answer; nothing was changed, nothing was sent.
        """
        with unavailable_if_down(), Session(self.engine, expire_on_commit=False) as session:
            work = Work(session)
            yield work
            session.commit()
        self._send(work.messages)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that only reads; it never waits for a writer."""
        with unavailable_if_down(), self.engine.connect() as connection:
            reader = connection.execution_options(rayon_read_only=True)
            with Session(reader, expire_on_commit=False) as session:
                yield session

    def _send(self, messages: list[Message]) -> None:
        for position, message in enumerate(messages):
            try:
                self.publisher.publish(message)
            except Unavailable as error:
                left = messages[position:]
                log.warning("publish_deferred", messages=len(left), error=str(error))
                for deferred in left:
                    metrics.messages_deferred_total.labels(deferred.topic).inc()
                return


def take_turns(session: Session, name: str) -> None:
    """Wait until no other transaction holds this name's turn; a commit or rollback ends it.

    For what no row lock can order, such as the next line of a ledger. On SQLite the transaction
    itself is the turn.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


@contextmanager
def unavailable_if_down() -> Iterator[None]:
    """Turn a database that does not answer into `Unavailable`."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        metrics.dependency_failures_total.labels("database").inc()
        raise Unavailable(f"The database does not answer: {_reason(error)}") from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        metrics.dependency_failures_total.labels("database").inc()
        raise Unavailable(f"The database connection broke: {_reason(error)}") from error


def open_engine(settings: DatabaseSettings) -> Engine:
    """Make the engine for SQLite (write-ahead log) or PostgreSQL."""
    url = settings.url.get_secret_value()
    if url.startswith("sqlite"):
        engine = create_engine(
            url,
            pool_size=settings.pool_size,
            max_overflow=settings.pool_size,
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        url,
        pool_size=settings.pool_size,
        max_overflow=settings.pool_size,
        pool_pre_ping=True,
        pool_timeout=10,
        connect_args={"connect_timeout": 3},
    )


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver's own BEGIN comes too late and is never immediate; `_begin_sqlite` does it.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail with "database is locked" when
    # another wrote in between; taking the write lock at once makes it wait instead. It is also
    # what makes the join of two modalities safe where there are no row locks.
    is_reader = connection.get_execution_options().get("rayon_read_only", False)
    connection.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
