"""How good the answers are, over time: what the monitor measured and estimated."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.web.paging import paginate
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
    asked = {name: value for name, value in wanted.items() if value is not None}
    return paginate(session, select(Performance).filter_by(**asked), Performance.id, cursor, limit)
