"""Routine trainings: asked for by the calendar or by new labels, while nothing has changed.

After a change, a release that is better at all is worth its promotion. While nothing has changed,
a promotion still changes answers that clients have seen ("churn"; Milani Fard et al., "Launch and
Iterate: Reducing Prediction Churn", NIPS 2016), so the gain must be worth that.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from shared.db.models import TrainingRun
from shared.lifecycle.alerts import MONITOR, has_changed
from trainer.release.paired_bootstrap import CURRENT, LABELLED


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
    return not (has_mix or has_other or has_changed(session))


def surest_gain(verdict: Mapping[str, Any]) -> float:
    """Return the higher lower end of the intervals on all rows and on labelled answers."""
    parts = [part for part in verdict.get("parts", []) if part["name"] == LABELLED]
    lows = [part["low"] for part in (verdict, *parts) if part.get("low") is not None]
    return max(lows, default=0.0)
