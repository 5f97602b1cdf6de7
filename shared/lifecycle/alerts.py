"""Alerts: raised once, told to whoever decides, and kept with every step that was taken."""

from typing import Any

import structlog
from sqlalchemy import select

from shared.contracts import DriftDetected
from shared.db.models import DriftAlert, now
from shared.db.session import Work, take_turns

log = structlog.get_logger(__name__)


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
    """Keep an alert and tell of it after the commit, unless one like it is not done with.

    Args:
        work: Its transaction keeps the alert.
        source: `monitor`, `alertmanager`, `person` or `report`.
        raised_by: A person's name, or the part of Rayon.
        kind: What moved, such as `text` or `prediction`.
        release: The version that was measured.
        summary: One sentence for a person.
        details: Figures, classes that moved, example jobs.
        trace_id: Of what found it.
        fingerprint: Equal for alerts about the same thing.

    Returns:
        The alert, or `None` if an unfinished one has the fingerprint.
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


def write_step(alert: DriftAlert, by: str, text: str) -> None:
    """Add a line to what was done about an alert."""
    # A new list: a change inside the old one would not be seen.
    alert.steps = [*alert.steps, {"at": now().isoformat(), "by": by, "text": text}]
