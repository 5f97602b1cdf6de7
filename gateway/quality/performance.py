"""How good the answers are, over time: what the monitor measured and estimated."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.web.paging import cursor_after, read_cursor
from shared.db.models import Performance


def page(
    session: Session, cursor: str | None, limit: int, **wanted: str | None
) -> tuple[Sequence[Performance], str | None]:
    """Figures, newest first, and the cursor of the next page.

    Args:
        session: Reads.
        cursor: As the page before gave it.
        limit: Of the page.
        wanted: Columns that must have a value; `None` is any.

    Raises:
        InvalidInput: The cursor is none.
    """
    query = select(Performance).order_by(Performance.id.desc()).limit(limit + 1)
    query = query.filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if cursor is not None:
        query = query.where(Performance.id < read_cursor(cursor))
    found = session.scalars(query).all()
    following = cursor_after(found[limit - 1].id) if len(found) > limit else None
    return found[:limit], following
