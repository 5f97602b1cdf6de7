"""F1 estimated without labels (CBPE), for each day and month with answers.

Estimates are corrected for a shift of the products, and left out where nothing supports them
(`trainer.monitoring.performance.shift`).
"""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.db.models import Performance
from shared.errors import NotFound
from shared.inference.releases.access import ServedReleases
from shared.skipping import skipping
from trainer.monitoring.performance import answers
from trainer.monitoring.performance.answers import Collected, Fusing
from trainer.monitoring.performance.figures import ESTIMATED, NOT_ESTIMATED, Figure, covers
from trainer.monitoring.performance.periods import DAY, Period
from trainer.monitoring.performance.shift import corrected, shift_of

log = structlog.get_logger(__name__)

#: Days to look back for missing estimates, in case the monitor was down.
DAYS_BACK = 35
#: Interval between estimates of a period that is not over: of a day, and of a month.
DAY_INTERVAL, MONTH_INTERVAL = timedelta(hours=1), timedelta(days=1)


def candidate_periods(moment: datetime) -> list[Period]:
    """Return the periods that may be due, oldest first: recent days, last month, this month."""
    today = Period.day(moment)
    days = [Period.day(today.begins_at - back * DAY) for back in range(DAYS_BACK, -1, -1)]
    month = Period.month_of(moment)
    return [*days, month.before(), month]


def estimated_figures(
    session: Session, registry: ServedReleases, period: Period, moment: datetime
) -> list[Figure]:
    """Estimate the F1 of every release that answered in a period; empty if not due."""
    last = session.scalar(
        select(func.max(Performance.measured_at)).where(
            Performance.kind.in_((ESTIMATED, NOT_ESTIMATED)), *covers(period)
        )
    )
    if not _is_due(period, last, moment):
        return []
    figures: list[Figure] = []
    for release in answers.releases_of(session, period):
        with skipping("performance", release):
            figures += _figures_of(session, registry, period, release)
    return figures


def _figures_of(
    session: Session, registry: ServedReleases, period: Period, release: str
) -> list[Figure]:
    try:
        fusing = Fusing.of(registry, release)
    except NotFound:
        log.warning("estimate_skipped", release=release, reason="unknown release")
        return []
    found = answers.collect(session, period, release, fusing)
    return [_figure(part, period, release, modality, fusing) for modality, part in found.items()]


def _figure(
    collected: Collected, period: Period, release: str, modality: str, fusing: Fusing
) -> Figure:
    """Return the estimate corrected for a shift, or the reason why there is none."""
    expectation = collected.expectation
    estimate = expectation.estimate(fusing.codes)
    known = fusing.known.get(modality)
    shift = None if known is None else shift_of(known, collected.sample)
    if shift is not None and shift.reason is not None:
        return Figure(NOT_ESTIMATED, release, modality, estimate, period, shift=shift)
    if shift is not None:
        estimate = corrected(estimate, shift)
    truth = expectation.by_truth(fusing.codes)
    return Figure(ESTIMATED, release, modality, estimate, period, truth, shift)


def _is_due(period: Period, last: datetime | None, moment: datetime) -> bool:
    if period.begins_at > moment:
        return False
    if last is None:
        return True
    if last >= period.ends_at:
        return False
    interval = DAY_INTERVAL if period.is_day else MONTH_INTERVAL
    return moment >= period.ends_at or moment - last >= interval
