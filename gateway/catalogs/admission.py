"""Limits on unfinished catalogs, checked before an upload is read."""

import math
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from gateway.settings import CatalogSettings
from shared.db.models import Catalog, CatalogStatus
from shared.errors import Limited, Unavailable

#: Statuses of catalogs that have work left and count against the limits.
UNFINISHED = (CatalogStatus.VALIDATING.value, CatalogStatus.RUNNING.value)
#: `Retry-After` while no rate has been measured, and the longest one.
UNKNOWN_WAIT_SECONDS = 60
LONGEST_WAIT_SECONDS = 3600


@dataclass(frozen=True)
class _Load:
    """Totals of the unfinished catalogs.

    Attributes:
        wait_seconds: Estimated seconds until the first of them is finished.
    """

    catalogs: int
    rows: int
    size: int
    wait_seconds: int


def require_room(session: Session, limits: CatalogSettings, user_id: str, size: int) -> None:
    """Check a user's limits, and the limit of all users.

    Args:
        session: Reads the catalogs.
        limits: Most unfinished catalogs, rows and bytes.
        user_id: The user who uploads.
        size: Announced size of the request in bytes; 0 if unknown.

    Raises:
        Limited: The user's catalogs have reached a limit.
        Unavailable: The catalogs of all users have reached a limit.
    """
    own = _load_of(session, Catalog.user_id == user_id)
    all_rows = _load_of(session).rows
    for used, limit, unit in (
        (own.catalogs + 1, limits.max_unfinished, "unfinished catalogs"),
        (own.rows, limits.max_unfinished_rows, "unfinished rows"),
        (own.size + size, limits.max_unfinished_bytes, "bytes of unfinished catalogs"),
    ):
        if used > limit:
            raise Limited(
                f"Expected at most {limit} {unit} at once. Received: {used}",
                retry_after_seconds=own.wait_seconds,
            )
    if all_rows > limits.max_unfinished_rows_of_all:
        raise Unavailable(
            f"{all_rows} rows are waiting, which is the limit of all users together",
            retry_after_seconds=own.wait_seconds,
        )


def _load_of(session: Session, *conditions: ColumnElement[bool]) -> _Load:
    # The reports are left out: they may be long, and this query runs at each upload.
    query = select(
        Catalog.id,
        Catalog.rows,
        Catalog.rejected,
        Catalog.fed,
        Catalog.size,
        Catalog.rows_per_second,
    ).where(Catalog.status.in_(UNFINISHED), *conditions)
    found = session.execute(query).all()
    left = {row.id: max(0, row.rows - row.rejected - row.fed) for row in found}
    waits = [left[row.id] / row.rows_per_second for row in found if row.rows_per_second]
    seconds = math.ceil(min(waits, default=UNKNOWN_WAIT_SECONDS))
    return _Load(
        catalogs=len(found),
        rows=sum(left.values()),
        size=sum(row.size for row in found),
        wait_seconds=min(max(1, seconds), LONGEST_WAIT_SECONDS),
    )
