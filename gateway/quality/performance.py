"""Performance of releases over time, as the monitor measured and estimated it."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.web.paging import paginate
from shared.db.models import Performance


def page(
    session: Session, cursor: str | None, limit: int, **wanted: str | None
) -> tuple[Sequence[Performance], str | None]:
    """Return a page of measurements, newest first, and the cursor of the next page.

    Args:
        session: Reads the measurements.
        cursor: `next_cursor` of the page before; `None` for the first page.
        limit: Measurements on a page.
        wanted: Column values to filter by; `None` matches any value.

    Raises:
        InvalidInput: The cursor was not issued by a list of this API.
    """
    values = {name: value for name, value in wanted.items() if value is not None}
    return paginate(session, select(Performance).filter_by(**values), Performance.id, cursor, limit)
