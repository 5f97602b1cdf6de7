"""A check that no write transaction is open, for fakes of what is reached over a network.

Other writers wait for such a transaction, so a dependency that stalls would stop them all.
"""

from contextvars import ContextVar

from sqlalchemy import Connection, Engine, event

#: Number of write transactions that this thread, or the thread that called it, has open.
_open: ContextVar[int] = ContextVar("open_write_transactions", default=0)


def require_no_write_transaction(dependency: str) -> None:
    """Fail if a dependency is called while a write transaction is open."""
    assert not _open.get(), f"The {dependency} is called inside of a write transaction"


def _is_writer(connection: Connection) -> bool:
    return not connection.get_execution_options().get("rayon_read_only", False)


@event.listens_for(Engine, "begin")
def _begin(connection: Connection) -> None:
    if _is_writer(connection):
        _open.set(_open.get() + 1)


@event.listens_for(Engine, "commit")
@event.listens_for(Engine, "rollback")
def _end(connection: Connection) -> None:
    if _is_writer(connection):
        _open.set(max(0, _open.get() - 1))
