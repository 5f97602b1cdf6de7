"""F1 estimated without labels (CBPE), for each day and month with answers."""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.db.models import Performance
from shared.errors import NotFound
from shared.inference.releases.access import ServedReleases
from shared.skipping import skipping
from trainer.monitoring.performance import answers
from trainer.monitoring.performance.answers import Fusing
from trainer.monitoring.performance.figures import ESTIMATED, Figure, covers
from trainer.monitoring.performance.periods import DAY, Period

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
            Performance.kind == ESTIMATED, *covers(period)
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
    return [
        Figure(
            ESTIMATED,
            release,
            modality,
            expectation.estimate(fusing.codes),
            period,
            expectation.by_truth(fusing.codes),
        )
        for modality, expectation in answers.expectations(session, period, release, fusing).items()
    ]


def _is_due(period: Period, last: datetime | None, moment: datetime) -> bool:
    if period.begins_at > moment:
        return False
    if last is None:
        return True
    if last >= period.ends_at:
        return False
    interval = DAY_INTERVAL if period.is_day else MONTH_INTERVAL
    return moment >= period.ends_at or moment - last >= interval
