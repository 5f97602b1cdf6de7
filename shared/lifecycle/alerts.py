"""Drift alerts: raised once, and stored with every step taken."""

from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from shared.contracts import DriftDetected
from shared.db.models import AlertStatus, DriftAlert, now
from shared.db.session import Work, take_turns

log = structlog.get_logger(__name__)

#: Source of the alerts of the monitor, and requester of its trainings.
MONITOR = "monitor"
#: Kinds of alerts about a promoted release, and of those that the calendar and new labels raise.
PROMOTION, CALENDAR, LABELS = "promotion", "calendar", "labels"
#: Kinds of alerts that ask for a training while nothing has changed.
ROUTINE = (CALENDAR, LABELS)
#: Time in which trainings after an alert go on learning from the change: labels come day by day.
CHANGE = timedelta(days=30)


def raise_alert(
    work: Work,
    *,
    source: str,
    raised_by: str,
    kind: str,
    release: str | None,
    summary: str,
    details: dict[str, Any],
    trace_id: str,
    fingerprint: str,
) -> DriftAlert | None:
    """Store an alert and publish it after the commit, unless the same alert is unfinished.

    Args:
        work: Transaction that stores the alert.
        source: `monitor`, `alertmanager`, `person` or `report`.
        raised_by: Name of the person or of the Rayon component.
        kind: Drifted quantity, such as `text` or `prediction`.
        release: Measured release.
        summary: Readable summary in one sentence.
        details: Figures, drifted classes and example jobs.
        trace_id: Trace id of the request or message that found the drift.
        fingerprint: Hash that is equal for alerts about the same drift.

    Returns:
        The alert, or `None` if an unfinished alert has the same fingerprint.
    """
    take_turns(work.session, DriftAlert.__tablename__)
    unfinished = select(DriftAlert.id).where(
        DriftAlert.fingerprint == fingerprint, DriftAlert.ended_at.is_(None)
    )
    if work.session.scalar(unfinished) is not None:
        return None
    alert = DriftAlert(
        source=source,
        raised_by=raised_by,
        kind=kind,
        release=release,
        fingerprint=fingerprint,
        summary=summary,
        details=details,
        steps=[],
    )
    write_step(alert, raised_by, "Raised")
    work.session.add(alert)
    work.session.flush()
    work.publish(DriftDetected(trace_id=trace_id, alert_id=alert.id))
    log.info("drift_alert_raised", alert=alert.id, source=source, kind=kind, summary=summary)
    return alert


def has_changed(session: Session, *, is_answered: bool = False) -> bool:
    """Return True after an alert within 30 days about a change that a training learns from.

    Args:
        session: Read-only.
        is_answered: Only alerts count that led to a training.
    """
    return session.scalar(changes(is_answered=is_answered).limit(1)) is not None


def changes(*, is_answered: bool = False) -> Select[DriftAlert]:
    """Return a query for the alerts within 30 days about a change that a training learns from.

    Each waits for its training, or led to one. An alert that people must allow or that ended
    otherwise does not count, nor do those of the calendar, of new labels and about a promotion.

    Args:
        is_answered: Only alerts count that led to a training.
    """
    waiting = () if is_answered else (AlertStatus.OPEN.value, AlertStatus.TRAINING.value)
    return select(DriftAlert).where(
        DriftAlert.kind.not_in((*ROUTINE, PROMOTION)),
        DriftAlert.raised_at > now() - CHANGE,
        or_(DriftAlert.training_run_id.is_not(None), DriftAlert.status.in_(waiting)),
    )


def write_step(alert: DriftAlert, by: str, text: str) -> None:
    """Append a step to an alert."""
    # A new list, because SQLAlchemy does not detect changes inside the existing one.
    alert.steps = [*alert.steps, {"at": now().isoformat(), "by": by, "text": text}]
