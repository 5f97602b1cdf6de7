"""Workflow state of a drift alert, kept in `DriftAlert.details`, and the queries that read it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import AlertStatus, DriftAlert, TrainingRun
from shared.lifecycle.alerts import changes

# Keys of the stored JSON. Alerts of earlier versions use them too, so they never change.
_AWAITED_VERSION = "dataset_version_id"
_OVER_BUDGET = "over_budget"
_ALLOWED_BY = "allowed_by"
#: Time of the first product of the windows that differ.
SINCE = "since"


@dataclass(frozen=True)
class AlertState:
    """Decisions recorded on an alert.

    Attributes:
        awaited_version_id: Dataset version that must pass its checks before the training starts.
        is_over_budget: True if the weekly budget refused the training.
        is_allowed: True if a person allowed the training (set by the gateway).
        since: Time of the first product of the windows that differ; `None` if it was not measured.
    """

    awaited_version_id: str | None = None
    is_over_budget: bool = False
    is_allowed: bool = False
    since: datetime | None = None

    @classmethod
    def of(cls, alert: DriftAlert) -> "AlertState":
        """Read the state of an alert."""
        since = alert.details.get(SINCE)
        return cls(
            since=None if since is None else datetime.fromisoformat(since),
            awaited_version_id=alert.details.get(_AWAITED_VERSION),
            is_over_budget=_OVER_BUDGET in alert.details,
            is_allowed=_ALLOWED_BY in alert.details,
        )


def await_version(alert: DriftAlert, version_id: str) -> None:
    """Make an alert wait for the checks of a dataset version before its training starts."""
    alert.status = AlertStatus.TRAINING.value
    _set(alert, _AWAITED_VERSION, version_id)


def mark_over_budget(alert: DriftAlert) -> None:
    """Record that the weekly budget refused the training."""
    _set(alert, _OVER_BUDGET, True)


def awaited_version(session: Session) -> tuple[DriftAlert, str] | None:
    """Return an alert whose training waits for a dataset version, with the version's id."""
    alert = session.scalar(
        select(DriftAlert)
        .where(
            DriftAlert.status == AlertStatus.TRAINING.value,
            DriftAlert.training_run_id.is_(None),
            DriftAlert.details[_AWAITED_VERSION].as_string() != "",
        )
        .order_by(DriftAlert.id)
        .limit(1)
    )
    if alert is None:
        return None
    return alert, alert.details[_AWAITED_VERSION]


def changed_since(session: Session) -> datetime | None:
    """Return the time of the first product of a change that trainings learn from.

    Returns:
        `None` without such a change, and if no alert about it measured its products.
    """
    moments = (AlertState.of(alert).since for alert in session.scalars(changes()))
    return min((moment for moment in moments if moment is not None), default=None)


def run_for_version(session: Session, version_id: str) -> TrainingRun | None:
    """Return the run started by another alert that awaited the version, even if it has ended."""
    return session.scalar(
        select(TrainingRun)
        .join(DriftAlert, DriftAlert.training_run_id == TrainingRun.id)
        .where(DriftAlert.details[_AWAITED_VERSION].as_string() == version_id)
        .limit(1)
    )


def _set(alert: DriftAlert, key: str, value: Any) -> None:
    # A new dict: SQLAlchemy does not detect changes inside the old one.
    alert.details = {**alert.details, key: value}
