"""Pages of lists. A cursor encodes the ID of the last row and is opaque to clients."""

import base64
import binascii
import uuid
from collections.abc import Sequence
from typing import TypeVar, TypeVarTuple

from sqlalchemy import Row, Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from shared.errors import InvalidInput

Item = TypeVar("Item")
Columns = TypeVarTuple("Columns")


def paginate(
    session: Session,
    query: Select[Item],
    position: InstrumentedAttribute[str],
    cursor: str | None,
    limit: int,
) -> tuple[Sequence[Item], str | None]:
    """Return a page of rows, the highest ID first, and the cursor of the next page.

    Args:
        session: Runs the query.
        query: Selects one model, in any order.
        position: The ID column of that model; pages are ordered by it.
        cursor: `next_cursor` of the previous page; `None` for the first page.
        limit: Maximum rows of a page.

    Raises:
        InvalidInput: The cursor was not issued by a list of this API.
    """
    if cursor is not None:
        query = query.where(position < read_cursor(cursor))
    rows, has_more = fetch_page(session, query.order_by(position.desc()), limit)
    items = [row[0] for row in rows]
    return items, cursor_after(getattr(items[-1], position.key)) if has_more else None


def fetch_page(
    session: Session, query: Select[*Columns], limit: int
) -> tuple[Sequence[Row[*Columns]], bool]:
    """Return the first `limit` rows of an ordered query, and True if more rows follow."""
    rows = session.execute(query.limit(limit + 1)).all()
    return rows[:limit], len(rows) > limit


def cursor_after(row_id: str) -> str:
    """Return the cursor of the page that begins after a row."""
    return base64.urlsafe_b64encode(row_id.encode()).decode()


def read_cursor(cursor: str) -> str:
    """Return the ID of the row that a page begins after.

    Raises:
        InvalidInput: The cursor was not issued by a list of this API.
    """
    try:
        return str(uuid.UUID(base64.urlsafe_b64decode(cursor.encode()).decode("ascii")))
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(
            f"Expected a `next_cursor` of a previous page. Received: {cursor!r}", field=("cursor",)
        ) from error
