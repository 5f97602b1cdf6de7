"""Limits on trainings that the monitor starts: the weekly budget, labels, and the calendar."""

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.db.models import DriftAlert, TrainingRun, now
from shared.db.session import UnitOfWork, Work
from shared.lifecycle.alerts import CALENDAR, LABELS, MONITOR, has_changed, raise_alert
from shared.logs import new_trace_id
from trainer.monitoring.alert_state import AlertState
from trainer.monitoring.latest_dataset import latest_dataset, new_labels
from trainer.monitoring.settings import MonitorSettings

WEEK = timedelta(days=7)


def budget_refusal(session: Session, settings: MonitorSettings) -> str | None:
    """Explain why the weekly budget forbids a training; `None` if it allows one."""
    runs = session.scalar(
        select(func.count())
        .select_from(TrainingRun)
        .where(TrainingRun.requested_by == MONITOR, TrainingRun.requested_at > now() - WEEK)
    )
    allowed = settings.trainings_per_week
    if (runs or 0) < allowed:
        return None
    return (
        f"Not retrained: the monitor started {runs} trainings within seven days and the budget is "
        f"{allowed} (RAYON_MONITOR_TRAININGS_PER_WEEK). To train anyway: POST /v1/training-runs"
    )


def label_refusal(session: Session, alert: DriftAlert, settings: MonitorSettings) -> str | None:
    """Explain why a training about drift waits for labels; `None` if it need not."""
    since = AlertState.of(alert).since
    base = latest_dataset(session, settings.dataset)
    limit = timedelta(days=settings.label_days)
    if since is None or base is None or now() - alert.raised_at >= limit:
        return None
    if new_labels(session, base.name, since) >= settings.least_labels:
        return None
    return (
        f"Waiting for {settings.least_labels} labels of products since {since:%Y-%m-%d %H:%M} UTC "
        f"(RAYON_MONITOR_LEAST_LABELS), for {settings.label_days:g} days at most: label the "
        f"answers in /v1/reviews. To train at once: POST /v1/drift-alerts/{alert.id}/train"
    )


def raise_calendar_alert(unit_of_work: UnitOfWork, settings: MonitorSettings) -> None:
    """Raise an alert if no training was requested within the configured number of days."""
    days = settings.train_every_days
    if not days:
        return
    with unit_of_work() as work:
        last = work.session.scalar(select(func.max(TrainingRun.requested_at)))
        since = now() - timedelta(days=days)
        if last is None or last <= since:
            summary = f"No training was requested within {days} days"
            _raise(work, CALENDAR, summary, since, settings)


def raise_label_alert(unit_of_work: UnitOfWork, settings: MonitorSettings) -> None:
    """Raise an alert if enough labels were added that no version of the dataset contains.

    A training after an alert may come when there are few labels yet; what follows would wait for
    the next alert, which does not come if the release was trained for the change. So after a
    change fewer labels are enough: as many as its first training waits for.
    """
    if not settings.train_every_labels:
        return
    with unit_of_work() as work:
        least = _labels_needed(work.session, settings)
        base = latest_dataset(work.session, settings.dataset)
        labels = new_labels(work.session, base.name) if base is not None else 0
        if labels >= least:
            summary = f"{labels} labels are in no version of the dataset yet"
            _raise(work, LABELS, summary, now() - WEEK, settings)


def _labels_needed(session: Session, settings: MonitorSettings) -> int:
    every = settings.train_every_labels
    # The first training after a change waits for labels of it (`label_refusal`).
    if 0 < settings.least_labels < every and has_changed(session, is_answered=True):
        return settings.least_labels
    return every


def _raise(
    work: Work, kind: str, summary: str, quiet_since: datetime, settings: MonitorSettings
) -> None:
    if _is_quiet(work.session, kind, quiet_since, settings):
        return
    raise_alert(
        work,
        source=MONITOR,
        raised_by=kind,
        kind=kind,
        release=None,
        summary=summary,
        details={},
        trace_id=new_trace_id(),
        fingerprint=kind,
    )


def _is_quiet(session: Session, kind: str, since: datetime, settings: MonitorSettings) -> bool:
    """Return True while an earlier alert of a kind makes another one pointless.

    An alert that the budget refused is raised again as soon as the budget has room. One that a
    person dismissed silences its kind for the whole interval, a week for labels.
    """
    last = session.scalar(
        select(DriftAlert)
        .where(
            DriftAlert.source == MONITOR,
            DriftAlert.kind == kind,
            DriftAlert.training_run_id.is_(None),
            DriftAlert.ended_at > since,
        )
        .order_by(DriftAlert.ended_at.desc())
        .limit(1)
    )
    if last is None:
        return False
    is_refused = AlertState.of(last).is_over_budget
    return not is_refused or budget_refusal(session, settings) is not None
