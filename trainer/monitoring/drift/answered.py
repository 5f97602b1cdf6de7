"""Changes that a release was trained for, which are no drift of its products.

A release is trained on the labels of a whole dataset, and its reference describes the products of
that dataset, mostly those of before the change that an alert was about. The products of now go on
to differ from it, and without this module each answered alert would be raised again after the
cool-down, and start another training. So once a release has been trained for an alert and promoted,
the kinds of that alert have also moved away from the first products that the release answered
before they count as drift again.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import DriftAlert, DriftWindow, TrainingRun
from trainer.monitoring.drift.measure import Limits, Measured
from trainer.monitoring.drift.window_products import Answered, next_answers

#: Source of the monitor's alerts.
SOURCE = "monitor"


def answered_kinds(session: Session, release: str) -> frozenset[str]:
    """Return the kinds of the monitor's alerts for which a release was trained."""
    runs = select(TrainingRun.id).where(TrainingRun.version == release)
    kinds = session.scalars(
        select(DriftAlert.kind).where(
            DriftAlert.source == SOURCE, DriftAlert.training_run_id.in_(runs)
        )
    )
    return frozenset(kind for alert in kinds for kind in alert.split("+"))


def first_answers(session: Session, release: str) -> Sequence[Answered] | None:
    """Return the answers of the first window of a release that are still stored.

    Returns:
        `None` if the release has no window yet.
    """
    first = session.scalar(
        select(DriftWindow)
        .where(DriftWindow.release == release)
        .order_by(DriftWindow.ends_at)
        .limit(1)
    )
    if first is None:
        return None
    answered = next_answers(session, release, None, first.rows)
    return [answer for answer in answered if answer.finished_at <= first.ends_at]


def still_moved(
    moved: Iterable[str],
    answered: frozenset[str],
    since: Mapping[str, Measured] | None,
    limits: Limits,
) -> list[str]:
    """Return the kinds that count as drift.

    Args:
        moved: Kinds that differ from the reference of the release.
        answered: Kinds that the release was trained for.
        since: The same window compared with the first products of the release; `None` for the
            first window itself.
        limits: Effect sizes and the significance level that count as drift.
    """
    other = since or {}
    return [
        kind
        for kind in moved
        if kind not in answered or (kind in other and other[kind].has_moved(limits))
    ]
