"""F1 measured from labels, for each day and month that has new ones."""

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.db.models import Job, Performance
from trainer.monitoring.performance import answers
from trainer.monitoring.performance.answers import MODALITIES, Labelled
from trainer.monitoring.performance.figures import LABELLED, VOLUNTEERED, Figure
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.performance.weighted_f1 import measured_f1

#: Minimum number of labels for a figure of a single day; the month always has one.
LEAST_LABELS = 30
_BEFORE_ALL_LABELS = datetime(2000, 1, 1, tzinfo=UTC)


def labelled_figures(session: Session) -> list[Figure]:
    """Measure the days and months that received labels since the last measurement."""
    return [figure for period in _labelled_periods(session) for figure in _measure(session, period)]


def _labelled_periods(session: Session) -> list[Period]:
    since = session.scalar(
        select(func.max(Performance.measured_at)).where(
            Performance.kind.in_((LABELLED, VOLUNTEERED))
        )
    )
    finished = select(Job.finished_at).where(
        Job.labelled_at > (since or _BEFORE_ALL_LABELS), Job.finished_at.is_not(None)
    )
    moments = [moment for moment in session.scalars(finished) if moment is not None]
    days = {Period.day(moment) for moment in moments}
    months = {Period.month_of(moment) for moment in moments}
    return sorted(days | months, key=lambda period: (period.begins_at, period.ends_at))


def _measure(session: Session, period: Period) -> list[Figure]:
    figures: list[Figure] = []
    least = LEAST_LABELS if period.is_day else 1
    for release in answers.releases_of(session, period):
        kinds: dict[str, Labelled] = {
            LABELLED: answers.reviewed(session, period, release),
            VOLUNTEERED: answers.volunteered(session, period, release),
        }
        for kind, labelled in kinds.items():
            for modality in MODALITIES:
                truth, predicted, weights = labelled.of(modality)
                if len(truth) >= least:
                    f1 = measured_f1(truth, predicted, weights)
                    figures.append(Figure(kind, release, modality, f1, period))
    return figures
