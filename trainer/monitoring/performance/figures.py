"""Performance figures: their kinds, their storage, and the error of earlier estimates."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from shared.db.models import Performance
from shared.db.session import UnitOfWork
from trainer.monitoring.performance.cbpe import Estimate
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.performance.shift import Shift
from trainer.monitoring.performance.weighted_f1 import Confusions, by_code

log = structlog.get_logger(__name__)

TEST, LABELLED, VOLUNTEERED, ESTIMATED = "test", "labelled", "volunteered", "estimated"
#: Instead of an estimate: it cannot be made, and the row says why.
NOT_ESTIMATED = "not_estimated"
_REPLACED = {ESTIMATED: (ESTIMATED, NOT_ESTIMATED), NOT_ESTIMATED: (ESTIMATED, NOT_ESTIMATED)}
#: Minimum number of labels to compare an estimate with; fewer labels are mostly noise.
LEAST_TRUTH = 100


@dataclass(frozen=True)
class Figure:
    """F1 of a release and modality in a period, to be stored."""

    kind: str
    release: str
    modality: str
    estimate: Estimate
    period: Period
    confused: Confusions | None = None
    shift: Shift | None = None


def store(unit_of_work: UnitOfWork, figures: Sequence[Figure], moment: datetime) -> None:
    """Store figures, replacing earlier ones of the same kind, release, modality and period."""
    if not figures:
        return
    with unit_of_work() as work:
        for figure in figures:
            work.session.execute(
                delete(Performance).where(
                    Performance.kind.in_(_REPLACED.get(figure.kind, (figure.kind,))),
                    Performance.release == figure.release,
                    Performance.modality == figure.modality,
                    *covers(figure.period),
                )
            )
            work.session.add(_row(work.session, figure, moment))
    log.debug("performance_measured", figures=len(figures))


def covers(period: Period) -> tuple[Any, Any]:
    """Return the SQL conditions that select the figures of exactly this period."""
    return Performance.begins_at == period.begins_at, Performance.ends_at == period.ends_at


def past_error(session: Session, modality: str, before: datetime) -> float | None:
    """Return the RMSE of earlier estimates against the F1 measured from labels.

    Compares each estimate of a period that has ended with the labels of the same period, if there
    are at least `LEAST_TRUTH`, and each estimate on the test set with the labels of the test set.
    The sampling error of the labels is part of the result.

    Returns:
        `None` if no estimate can be compared yet.
    """
    rows = session.execute(
        select(
            Performance.kind,
            Performance.release,
            Performance.begins_at,
            Performance.ends_at,
            Performance.measured_at,
            Performance.f1,
        ).where(
            Performance.modality == modality,
            Performance.kind.in_((TEST, LABELLED, ESTIMATED)),
            Performance.low.is_not(None),
            (Performance.kind != LABELLED) | (Performance.rows >= LEAST_TRUTH),
            func.coalesce(Performance.ends_at, Performance.measured_at) <= before,
        )
    ).all()
    estimates: dict[Any, float] = {}
    truths: dict[Any, float] = {}
    for row in rows:
        subject = (row.begins_at, row.ends_at) if row.begins_at else row.measured_at
        (estimates if row.kind == ESTIMATED else truths)[(row.release, subject)] = row.f1
    errors = [estimates[key] - truths[key] for key in estimates.keys() & truths.keys()]
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else None


def _row(session: Session, figure: Figure, moment: datetime) -> Performance:
    past = None
    if figure.kind == ESTIMATED:
        past = past_error(session, figure.modality, figure.period.begins_at)
    is_known = figure.kind != NOT_ESTIMATED
    return Performance(
        measured_at=moment,
        kind=figure.kind,
        release=figure.release,
        modality=figure.modality,
        begins_at=figure.period.begins_at,
        ends_at=figure.period.ends_at,
        rows=figure.estimate.rows,
        f1=figure.estimate.f1 if is_known else None,
        low=figure.estimate.low if is_known else None,
        high=figure.estimate.high if is_known else None,
        past_error=past,
        classes=by_code(figure.estimate, figure.confused) if is_known else {},
        shift=None if figure.shift is None else asdict(figure.shift),
    )
