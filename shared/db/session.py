"""Transactions: one unit of work per request or message; messages are sent after the commit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from shared import metrics
from shared.breaker import Breaker
from shared.broker import UNFED, Publisher
from shared.contracts import Message
from shared.db.stalls import (
    Breakers,
    breakers_of,
    is_stall,
    limit_waits,
    postgresql_arguments,
)
from shared.errors import Unavailable
from shared.files import FULL_WAIT_SECONDS
from shared.settings import DatabaseSettings

log = structlog.get_logger(__name__)

#: Longest wait for a connection of the pool, in seconds.
POOL_SECONDS = 10.0
#: SQLSTATE `disk_full`.
POSTGRESQL_DISK_FULL = "53100"


@dataclass
class Work:
    """One transaction, and the messages to send after its commit.

    Attributes:
        final: Jobs and catalogs that this transaction makes final, by ID: the answer as JSON, for a
            client that waits, or `None`.
        unfed: IDs of catalogs that the feeder is to process.
        unsent: After the commit, the messages that could not be sent.
    """

    session: Session
    messages: list[Message] = field(default_factory=list)
    unsent: list[Message] = field(default_factory=list)
    final: dict[str, str | None] = field(default_factory=dict)
    unfed: list[str] = field(default_factory=list)

    def publish(self, message: Message) -> None:
        """Send a message after the commit."""
        self.messages.append(message)

    def announce(self, ids: Iterable[str]) -> None:
        """Announce jobs or catalogs that this transaction makes final, after the commit."""
        self.final.update(dict.fromkeys(ids))

    def announce_answers(self, answers: Mapping[str, str]) -> None:
        """Announce final jobs with their answers as JSON (`shared.contracts.JobAnswer`)."""
        self.final.update(answers)

    def announce_unfed(self, catalog_id: str) -> None:
        """Announce a catalog to the feeder, after the commit."""
        self.unfed.append(catalog_id)


@dataclass(frozen=True)
class UnitOfWork:
    """Factory of transactions: `with unit_of_work() as work: …` commits, then sends messages.

    A message that cannot be sent raises no error: the committed rows are unfinished, so the sweeper
    sends the message once Redis is back.
    """

    engine: Engine
    publisher: Publisher
    #: Breakers of the database; background processes have none, and wait for their time limits.
    breakers: Breakers | None = None

    @contextmanager
    def __call__(self) -> Iterator[Work]:
        """Open a read-write transaction.

        Raises:
            Unavailable: The database does not answer; no row was changed, no message was sent.
        """
        breaker = None if self.breakers is None else self.breakers.writes
        with _guarded(breaker), Session(self.engine, expire_on_commit=False) as session:
            work = Work(session)
            yield work
            session.commit()
        if work.final:
            self.publisher.announce(work.final)
        if work.unfed:
            self.publisher.announce(dict.fromkeys(work.unfed), UNFED)
        work.unsent = self._send(work.messages)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a read-only transaction, which never waits for a writer."""
        with self.querying() as connection, Session(connection, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def querying(self) -> Iterator[Connection]:
        """Open a read-only transaction as `reading` does, for statements without the ORM."""
        breaker = None if self.breakers is None else self.breakers.reads
        with _guarded(breaker), self.engine.connect() as connection:
            yield connection.execution_options(rayon_read_only=True)

    def _send(self, messages: list[Message]) -> list[Message]:
        """Send messages until the first that cannot be sent, and return those that remain."""
        for position, message in enumerate(messages):
            try:
                self.publisher.publish(message)
            except Unavailable as error:
                unsent = messages[position:]
                defer(unsent, error.detail)
                return unsent
        return []


def defer(messages: Sequence[Message], reason: str) -> None:
    """Log and count messages that could not be sent and are left to the sweeper."""
    log.warning("publish_deferred", messages=len(messages), error=reason)
    for message in messages:
        metrics.messages_deferred_total.labels(message.topic).inc()


def take_turns(session: Session, name: str) -> None:
    """Lock a name until the end of the transaction, waiting for other holders.

    This orders transactions that no row lock can order, such as those that append to a ledger.
    SQLite needs no lock, because it runs one write transaction at a time.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


@contextmanager
def _guarded(breaker: Breaker | None) -> Iterator[None]:
    """Refuse the block while the breaker is open, and open it if the database hangs."""
    if breaker is not None:
        breaker.require_closed()
    try:
        with unavailable_if_down():
            yield
    except Unavailable as error:
        if breaker is not None and is_stall(error):
            breaker.open(error.detail.removeprefix("The database does not answer: "))
        raise


@contextmanager
def unavailable_if_down() -> Iterator[None]:
    """Raise `Unavailable` for errors of a database that does not answer."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        metrics.dependency_failures_total.labels("database").inc()
        if _is_full(error):
            raise Unavailable(
                "The disk of the database is full", retry_after_seconds=FULL_WAIT_SECONDS
            ) from error
        raise Unavailable(f"The database does not answer: {_reason(error)}") from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        metrics.dependency_failures_total.labels("database").inc()
        raise Unavailable(f"The database connection broke: {_reason(error)}") from error


def open_engine(settings: DatabaseSettings, breakers: Breakers | None = None) -> Engine:
    """Create the engine for SQLite (with a write-ahead log) or PostgreSQL.

    Args:
        settings: Address, size of the pool, and limit of waits.
        breakers: Those of a gateway, whose requests wait for no lock beyond the limit.
    """
    url = settings.url.get_secret_value()
    pool = {
        "pool_size": settings.pool_size,
        "max_overflow": settings.pool_size,
        "pool_timeout": min(POOL_SECONDS, settings.answer_seconds),
    }
    if url.startswith("sqlite"):
        waits = {"timeout": settings.answer_seconds, "check_same_thread": False}
        engine = create_engine(url, **pool, connect_args=waits)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    lock_seconds = settings.answer_seconds if breakers else None
    arguments = postgresql_arguments(lock_seconds)
    engine = create_engine(url, **pool, pool_pre_ping=True, connect_args=arguments)
    limit_waits(engine, settings.answer_seconds, (breakers or breakers_of(settings)).writes)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver starts transactions too late and never with BEGIN IMMEDIATE; `_begin_sqlite` does.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail with "database is locked" if
    # another one wrote in between; with the write lock from the start it waits instead. This lock
    # also makes the join of two modalities safe, since SQLite has no row locks.
    is_reader = connection.get_execution_options().get("rayon_read_only", False)
    connection.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")


def _is_full(error: Exception) -> bool:
    cause = getattr(error, "orig", None)
    is_sqlite_full = getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL"
    return is_sqlite_full or getattr(cause, "sqlstate", "") == POSTGRESQL_DISK_FULL


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
