"""Odds of a day's answers to be of what has changed, while trainings learn from a change.

The products of before the change are those that were answered then and are still stored, so nothing
is kept for it, and retention holds.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from shared.db.models import Job, JobStatus
from trainer.monitoring.alert_state import changed_since
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.performance.text_odds import (
    LEAST_COMPARED,
    MOST_COMPARED,
    Product,
    TextOdds,
)

log = structlog.get_logger(__name__)

Floats = NDArray[np.float64]

#: Time before the change from which products are read, and slices of it that each give as many:
#: the newest products alone may be those of a single catalog.
BEFORE, SLICES = timedelta(days=30), 20
#: Products per query.
PIECE = 1_000

_HAS_TEXT = (Job.designation != "") | (Job.description != "")


def changed_odds(session: Session, day: Period, ids: Sequence[str]) -> Floats | None:
    """Return how much likelier products are now than before a change, shape `(ids,)`.

    Args:
        session: Read-only.
        day: Day of the answers.
        ids: Ids of the answers.

    Returns:
        `None` without a change that trainings learn from, for a day before it, and with too few
        products of before or of the day.
    """
    since = changed_since(session)
    if since is None or day.ends_at <= since:
        return None
    before = products_before(session, since)
    spread = np.linspace(0, len(ids) - 1, min(len(ids), MOST_COMPARED)).astype(np.int64)
    today = dict(_products(session, [ids[place] for place in spread]))
    if min(len(before), len(today)) < LEAST_COMPARED:
        log.info("changed_odds_skipped", before=len(before), today=len(today))
        return None
    odds = TextOdds.fit(before, list(today), list(today.values()))
    found = np.ones(len(ids))
    for start in range(0, len(ids), PIECE):
        piece = {id_: start + place for place, id_ in enumerate(ids[start : start + PIECE])}
        products = dict(_products(session, list(piece)))
        places = [piece[id_] for id_ in products]
        found[places] = odds.of(list(products), list(products.values()))
    return found


def products_before(session: Session, since: datetime) -> list[Product]:
    """Return products with a text that were answered before a moment, spread over 30 days.

    If fewer days are stored, they are spread over these.
    """
    # `min(finished_at)` would read all answers of the 30 days.
    oldest = select(Job.finished_at).where(*_answered(since - BEFORE, since))
    first = session.scalar(oldest.order_by(Job.finished_at).limit(1))
    if first is None:
        return []
    step = (since - first) / SLICES
    found: list[Product] = []
    for number in range(SLICES):
        begins = first + number * step
        query = select(Job.designation, Job.description).where(*_answered(begins, begins + step))
        newest = query.order_by(Job.finished_at.desc()).limit(MOST_COMPARED // SLICES)
        found += [(row.designation, row.description) for row in session.execute(newest)]
    return found


def _answered(begins_at: datetime, ends_at: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        Job.status == JobStatus.DONE.value,
        Job.finished_at >= begins_at,
        Job.finished_at < ends_at,
        _HAS_TEXT,
    )


def _products(session: Session, ids: Sequence[str]) -> Iterator[tuple[str, Product]]:
    for start in range(0, len(ids), PIECE):
        query = select(Job.id, Job.designation, Job.description).where(
            Job.id.in_(ids[start : start + PIECE]), _HAS_TEXT
        )
        for row in session.execute(query.order_by(Job.id)):
            yield row.id, (row.designation, row.description)
