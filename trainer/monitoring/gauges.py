"""Metrics of models, data, alerts and trainings, updated from the database."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import case, func, or_, select
from sqlalchemy.orm import Session, defer

from shared import metrics
from shared.db.models import (
    AlertStatus,
    DriftAlert,
    DriftWindow,
    Job,
    Performance,
    Promotion,
    TrainingRun,
    TrainingStatus,
    WatchState,
    now,
)
from shared.db.session import UnitOfWork
from shared.lifecycle.alerts import PROMOTION
from shared.lifecycle.label_trust import is_trusted_label
from shared.lifecycle.ledger import last_done
from shared.skipping import skipping
from trainer.monitoring.drift.windows import QUALITY
from trainer.monitoring.performance.figures import ESTIMATED, NOT_ESTIMATED
from trainer.monitoring.promotion_watch.record import Record

#: Days of labels to count.
LABELS_DAYS = 7
#: Maximum age of a figure in days; older ones do not describe the present.
FIGURES_DAYS = 62
#: Newest promotions among which the watched one is looked for, and time for which it is shown after
#: its end.
WATCHES, WATCH_SHOWN = 10, timedelta(days=2)
ENDED = (TrainingStatus.FINISHED, TrainingStatus.FAILED, TrainingStatus.CANCELLED)


class Gauges:
    """Updates the metrics; only reads the database."""

    def __init__(self, unit_of_work: UnitOfWork) -> None:
        self._unit_of_work = unit_of_work

    def refresh(self) -> None:
        """Set all metrics to the current state and remove outdated series. Raises `Unavailable`."""
        with self._unit_of_work.reading() as session:
            serving = _serving(session)
            with skipping("gauges", "performance"):
                _show_performance(_newest_performance(session, serving))
            with skipping("gauges", "drift"):
                _show_drift(_newest_window(session, serving))
            for show in _OTHERS:
                with skipping("gauges", show.__name__):
                    show(session)


def _serving(session: Session) -> str | None:
    """Return the champion according to the promotion ledger."""
    last = last_done(session)
    return None if last is None else last.version


def _newest_performance(session: Session, serving: str | None) -> Sequence[Performance]:
    """Return the champion's newest row of each kind and modality.

    Figures from labels cover the month, because labels are few; estimates cover the day, because a
    month hides a change. The estimate on the test set has no period. It only serves to measure the
    error of estimates and does not describe current traffic.
    """
    since = now() - timedelta(days=FIGURES_DAYS)
    is_recent = or_(Performance.ends_at.is_(None), Performance.ends_at > since)
    is_of_traffic = or_(Performance.kind != ESTIMATED, Performance.begins_at.is_not(None))
    query = (
        select(Performance)
        .where(Performance.release == serving, is_recent, is_of_traffic)
        .options(defer(Performance.classes))
    )
    newest: dict[tuple[str, str], Performance] = {}
    for row in sorted(session.scalars(query), key=_age_order):
        # Where F1 cannot be estimated now, an earlier estimate must not be shown.
        kind = ESTIMATED if row.kind == NOT_ESTIMATED else row.kind
        newest[kind, row.modality] = row
    return list(newest.values())


def _age_order(row: Performance) -> tuple[datetime, datetime]:
    """Sort key that puts the row to show last."""
    end = row.begins_at if row.kind in (ESTIMATED, NOT_ESTIMATED) else row.ends_at
    return end or row.measured_at, row.measured_at


def _show_performance(rows: Sequence[Performance]) -> None:
    by_labels = {(row.kind, row.modality, row.release): row for row in rows}
    metrics.show(metrics.f1_rows, {labels: row.rows for labels, row in by_labels.items()})
    metrics.show(
        metrics.f1_timestamp,
        {labels: row.measured_at.timestamp() for labels, row in by_labels.items()},
    )
    for gauge, column in (
        (metrics.f1, "f1"),
        (metrics.f1_low, "low"),
        (metrics.f1_high, "high"),
        (metrics.f1_past_error, "past_error"),
    ):
        values = {labels: getattr(row, column) for labels, row in by_labels.items()}
        metrics.show(
            gauge, {labels: value for labels, value in values.items() if value is not None}
        )


def _newest_window(session: Session, serving: str | None) -> DriftWindow | None:
    return session.scalar(
        select(DriftWindow)
        .where(DriftWindow.release == serving)
        .order_by(DriftWindow.id.desc())
        .limit(1)
    )


def _show_drift(window: DriftWindow | None) -> None:
    measured = window.measured if window is not None else {}
    release = window.release if window is not None else ""
    moved = window.moved if window is not None else []
    metrics.show(
        metrics.drift_effect, {(kind, release): drift["effect"] for kind, drift in measured.items()}
    )
    metrics.show(
        metrics.drift_threshold,
        {(kind, release): drift["threshold"] for kind, drift in measured.items()},
    )
    metrics.show(metrics.drift_moved, {(kind, release): float(kind in moved) for kind in measured})
    metrics.show(
        metrics.drift_timestamp,
        {(window.release,): window.measured_at.timestamp()} if window is not None else {},
    )
    metrics.show(metrics.drift_rows, {(window.release,): window.rows} if window is not None else {})
    checks = measured.get(QUALITY, {}).get("features", [])
    metrics.show(metrics.data_quality, {(check["name"],): check["window"] for check in checks})
    metrics.show(
        metrics.data_quality_reference, {(check["name"],): check["reference"] for check in checks}
    )


def _show_alerts(session: Session) -> None:
    about = case(
        (DriftAlert.kind == QUALITY, "products"),
        (DriftAlert.kind == PROMOTION, "release"),
        else_="models",
    )
    query = select(DriftAlert.status, DriftAlert.source, about, func.count()).group_by(
        DriftAlert.status, DriftAlert.source, about
    )
    counts = {
        (str(status), str(source), str(subject)): float(count)
        for status, source, subject, count in session.execute(query)
    }
    kinds = {(source, subject) for _, source, subject in counts} or {("monitor", "models")}
    zeros = {(status.value, *kind): 0.0 for status in AlertStatus for kind in kinds}
    metrics.show(metrics.alerts, zeros | counts)


def _show_trainings(session: Session) -> None:
    query = select(TrainingRun.status, func.count()).group_by(TrainingRun.status)
    counts = {(str(status),): float(count) for status, count in session.execute(query)}
    zeros = {(status.value,): 0.0 for status in TrainingStatus}
    metrics.show(metrics.training_runs, zeros | counts)
    began = session.scalar(
        select(func.min(TrainingRun.started_at)).where(
            TrainingRun.status == TrainingStatus.RUNNING.value
        )
    )
    moments = {"began": began, "succeeded": _last_success(session)}
    metrics.show(
        metrics.training_timestamp,
        {(name,): moment.timestamp() for name, moment in moments.items() if moment is not None},
    )


def _show_last_training(session: Session) -> None:
    ended = (
        select(TrainingRun)
        .where(TrainingRun.status.in_([status.value for status in ENDED]))
        .order_by(TrainingRun.finished_at.desc())
    )
    last = session.scalar(ended.limit(1))
    metrics.show(
        metrics.training_last,
        {(status.value,): float(last.status == status.value) for status in ENDED} if last else {},
    )


def _last_success(session: Session) -> datetime | None:
    return session.scalar(
        select(func.max(TrainingRun.finished_at)).where(
            TrainingRun.status == TrainingStatus.FINISHED.value
        )
    )


def _show_labels(session: Session) -> None:
    since = now() - timedelta(days=LABELS_DAYS)
    query = select(func.count()).select_from(Job).where(Job.labelled_at > since, is_trusted_label())
    metrics.labels.labels(str(LABELS_DAYS)).set(session.scalar(query) or 0)


def _show_promotion(session: Session) -> None:
    last = last_done(session)
    metrics.show(
        metrics.promotion_timestamp,
        {(last.version,): last.promoted_at.timestamp()} if last is not None else {},
    )


def _show_watch(session: Session) -> None:
    newest = session.scalars(select(Promotion).order_by(Promotion.id.desc()).limit(WATCHES))
    line = next((one for one in newest if one.watch is not None), None)
    record = Record.of(line.watch or {}) if line is not None else Record()
    if line is None or not _is_shown(record):
        metrics.show(metrics.promotion_watch, {})
        metrics.show(metrics.promotion_watch_answers, {})
        return
    metrics.show(
        metrics.promotion_watch,
        {(line.version, state.value): float(state.value == record.state) for state in WatchState},
    )
    counts = {"seen": record.answers, "labelled": record.labelled, "compared": record.compared}
    metrics.show(
        metrics.promotion_watch_answers,
        {(line.version, kind): float(count) for kind, count in counts.items()},
    )


def _is_shown(record: Record) -> bool:
    """Return True for a watch that goes on, or has ended recently."""
    goes_on = record.state in (WatchState.WATCHING.value, WatchState.ROLLING_BACK.value)
    return goes_on or now() - datetime.fromisoformat(record.at) < WATCH_SHOWN


_OTHERS = (
    _show_alerts,
    _show_trainings,
    _show_last_training,
    _show_labels,
    _show_promotion,
    _show_watch,
)
