"""Routine trainings: asked for by the calendar or by new labels, while nothing has changed.

After a change, a release that is better at all is worth its promotion. While nothing has changed,
a promotion still changes answers that clients have seen ("churn"; Milani Fard et al., "Launch and
Iterate: Reducing Prediction Churn", NIPS 2016), so the gain must be worth that.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from shared.db.models import AlertStatus, DriftAlert, TrainingRun, now
from shared.lifecycle.alerts import MONITOR, PROMOTION, ROUTINE
from trainer.release.paired_bootstrap import CURRENT, LABELLED

#: Time in which trainings after an alert go on learning from the change: labels come day by day.
CHANGE = timedelta(days=30)


def is_routine(session: Session, run_id: str, verdict: Mapping[str, Any]) -> bool:
    """Return True if the monitor asked for a training, and nothing shows that anything has changed.

    A change is shown by an alert within 30 days that waits for a training or led to one, by another
    mix of categories in reviewed answers, and by categories that only one of both releases knows.
    """
    run = session.get(TrainingRun, run_id)
    if run is None or run.requested_by != MONITOR:
        return False
    has_mix = any(part["name"] == CURRENT for part in verdict.get("parts", []))
    has_other = verdict.get("new_categories") or verdict.get("lost_categories")
    return not (has_mix or has_other or _has_alert(session, run_id))


def surest_gain(verdict: Mapping[str, Any]) -> float:
    """Return the higher lower end of the intervals on all rows and on labelled answers."""
    parts = [part for part in verdict.get("parts", []) if part["name"] == LABELLED]
    lows = [part["low"] for part in (verdict, *parts) if part.get("low") is not None]
    return max(lows, default=0.0)


def _has_alert(session: Session, run_id: str) -> bool:
    """Return True after an alert about a change, or if the run is the answer to one."""
    query = select(DriftAlert.id).where(
        DriftAlert.kind.not_in((*ROUTINE, PROMOTION)),
        or_(
            DriftAlert.training_run_id == run_id,
            (DriftAlert.raised_at > now() - CHANGE)
            & (
                DriftAlert.training_run_id.is_not(None)
                | DriftAlert.status.in_((AlertStatus.OPEN.value, AlertStatus.TRAINING.value))
            ),
        ),
    )
    return session.scalar(query.limit(1)) is not None
