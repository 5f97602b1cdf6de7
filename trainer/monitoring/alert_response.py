"""Responds to drift alerts: starts a training or asks a person, and records the outcome.

    open ─ decide ─┬─▶ training ─ the run ended ─▶ ended
                   ├─▶ open: waits for labels of the products that differ
                   ├─▶ asking ─ a person allowed the training ─▶ open
                   │          └ input data recovered ─▶ ended
                   └─▶ ended: the weekly budget is used up, or another release serves

An alert about a promoted release was answered by the watch over it, and only waits for a person.

All state is read from the database, so a lost or duplicated message changes nothing.
"""

from collections.abc import Sequence

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.contracts import DatasetUploaded, TrainingRequested
from shared.db.models import (
    AlertStatus,
    DatasetStatus,
    DatasetVersion,
    DriftAlert,
    TrainingRun,
    TrainingStatus,
    new_id,
    now,
)
from shared.db.session import UnitOfWork, Work, take_turns
from shared.lifecycle.alerts import MONITOR, PROMOTION, write_step
from shared.lifecycle.label_trust import removal_of, untrusted_authors
from shared.lifecycle.ledger import last_done
from shared.logs import new_trace_id
from shared.skipping import skipping
from trainer.monitoring.alert_state import (
    AlertState,
    await_version,
    awaited_version,
    mark_over_budget,
    run_for_version,
)
from trainer.monitoring.drift.windows import QUALITY
from trainer.monitoring.latest_dataset import (
    is_being_checked,
    latest_dataset,
    may_have_untrusted_labels,
    new_labels,
    next_version_number,
)
from trainer.monitoring.settings import MonitorSettings
from trainer.monitoring.training_policy import (
    budget_refusal,
    label_refusal,
    raise_calendar_alert,
    raise_label_alert,
)

log = structlog.get_logger(__name__)

_UNFINISHED = (TrainingStatus.QUEUED.value, TrainingStatus.RUNNING.value)


class AlertResponse:
    """Decides about alerts, one at a time.

    Every public method raises `Unavailable` if the database does not answer.
    """

    def __init__(self, unit_of_work: UnitOfWork, settings: MonitorSettings) -> None:
        self._unit_of_work = unit_of_work
        self._settings = settings

    def look(self) -> None:
        """Decide about open alerts, and follow the trainings of the others."""
        raise_calendar_alert(self._unit_of_work, self._settings)
        raise_label_alert(self._unit_of_work, self._settings)
        for alert_id in self._with_status(AlertStatus.OPEN):
            with skipping("alerts", alert_id):
                self.decide(alert_id)
        for alert_id in self._with_status(AlertStatus.TRAINING):
            with skipping("alerts", alert_id):
                self._follow(alert_id)

    def decide(self, alert_id: str) -> None:
        """Start a training, ask a person, or end the alert; do nothing if it is not open."""
        with self._unit_of_work() as work:
            # Without this lock, two alerts decided at once would both find the budget unused.
            take_turns(work.session, "alert_response")
            alert = work.session.get(DriftAlert, alert_id, with_for_update=True)
            if alert is None or alert.status != AlertStatus.OPEN.value:
                return
            self._decide(work, alert)
            if alert.status != AlertStatus.OPEN.value:
                log.info("drift_alert_decided", alert=alert.id, status=alert.status)

    def _decide(self, work: Work, alert: DriftAlert) -> None:
        is_allowed = AlertState.of(alert).is_allowed
        if not is_allowed and _is_input_quality(alert):
            # Checked before running trainings: joining one would end the alert with that run.
            _ask_for_better_input(alert)
        elif not is_allowed and alert.source == MONITOR and alert.kind == PROMOTION:
            _ask_about_release(alert)
        elif (run := _unfinished_run(work.session)) is not None:
            _join(alert, run, f"Joined the training in progress: run {run.id}")
        elif (awaited := awaited_version(work.session)) is not None:
            other, version_id = awaited
            await_version(alert, version_id)
            _write(alert, f"Training starts once new labels are imported, with alert {other.id}")
        elif is_allowed or not self._is_held(work.session, alert):
            self._start(work, alert)

    def _is_held(self, session: Session, alert: DriftAlert) -> bool:
        """Return True if no training starts by itself now, and record the reason."""
        if self._settings.response == "ask":
            alert.status = AlertStatus.ASKING.value
            _write(alert, f"Waiting for approval: POST /v1/drift-alerts/{alert.id}/train")
        elif serving := _replacement(session, alert):
            _end(alert, f"Not retrained: release {serving} serves now")
        elif wait := label_refusal(session, alert, self._settings):
            _write_once(alert, wait)
        elif refusal := budget_refusal(session, self._settings):
            mark_over_budget(alert)
            _end(alert, refusal)
        else:
            return False
        return True

    def _start(self, work: Work, alert: DriftAlert) -> None:
        """Request a training, after a new version of the dataset if its labels have changed.

        They have if there are new ones, or if it may contain labels of untrusted users.
        """
        base = latest_dataset(work.session, self._settings.dataset)
        labels = new_labels(work.session, base.name) if base is not None else 0
        has_changed = labels or (base is not None and may_have_untrusted_labels(work.session, base))
        if base is None or not has_changed or is_being_checked(work.session, base.name):
            _request(work, alert, base)
            return
        version = DatasetVersion(
            id=new_id(),
            name=base.name,
            version=next_version_number(work.session, base.name),
            created_by=MONITOR,
            asked={"base": base.version, "files": [], "remove": [], "corrected": True},
        )
        work.session.add(version)
        work.session.flush()
        work.publish(DatasetUploaded(trace_id=new_trace_id(), version_id=version.id))
        await_version(alert, version.id)
        _write(alert, f"Importing new labels into the dataset: {labels} into {version.reference}")

    def _follow(self, alert_id: str) -> None:
        with self._unit_of_work() as work:
            # Like `decide`, this may start a training.
            take_turns(work.session, "alert_response")
            alert = work.session.get(DriftAlert, alert_id, with_for_update=True)
            if alert is None or alert.status != AlertStatus.TRAINING.value:
                return
            if alert.training_run_id is None:
                self._continue_after_import(work, alert)
                return
            run = work.session.get_one(TrainingRun, alert.training_run_id)
            if run.status in _UNFINISHED:
                return
            is_finished = run.status == TrainingStatus.FINISHED.value
            outcome = "Retrained" if is_finished else f"The training {run.status}"
            _end(alert, f"{outcome}, run {run.id}. {run.message or ''}".strip())

    def _continue_after_import(self, work: Work, alert: DriftAlert) -> None:
        """Request one training for all waiting alerts once the version with new labels is ready."""
        version_id = AlertState.of(alert).awaited_version_id or ""
        version = work.session.get(DatasetVersion, version_id)
        if version is not None and version.status == DatasetStatus.CHECKING.value:
            return
        run = _unfinished_run(work.session) or run_for_version(work.session, version_id)
        if run is not None:
            _join(alert, run, f"Joined a training: run {run.id}")
            return
        if version is not None and version.status == DatasetStatus.READY.value:
            _request(work, alert, version)
            return
        reason = version.message if version is not None else "the version was deleted"
        _write(alert, f"Importing the new labels failed: {reason}")
        _request(work, alert, latest_dataset(work.session, self._settings.dataset))

    def _with_status(self, status: AlertStatus) -> Sequence[str]:
        with self._unit_of_work.reading() as session:
            return session.scalars(
                select(DriftAlert.id)
                .where(DriftAlert.status == status.value)
                .order_by(DriftAlert.id)
            ).all()


def _is_input_quality(alert: DriftAlert) -> bool:
    """Return True if the monitor found only the quality of the input data degraded."""
    return alert.source == MONITOR and alert.kind == QUALITY


def _ask_for_better_input(alert: DriftAlert) -> None:
    alert.status = AlertStatus.ASKING.value
    path = f"/v1/drift-alerts/{alert.id}"
    _write(
        alert,
        "Not retrained: input data degraded; contact the sender. This alert ends when the input "
        f"recovers, or when a person ends it: POST {path}/dismiss. If the change is permanent, "
        f"train on it: POST {path}/train",
    )


def _ask_about_release(alert: DriftAlert) -> None:
    alert.status = AlertStatus.ASKING.value
    path = f"/v1/drift-alerts/{alert.id}"
    _write(
        alert,
        f"No training: find out why release {alert.release} is worse. A person ends this alert: "
        f"POST {path}/dismiss, or trains another release: POST {path}/train",
    )


def _request(work: Work, alert: DriftAlert, dataset: DatasetVersion | None) -> None:
    """Request a training, or end the alert if the dataset contains labels of untrusted users."""
    if dataset is not None and (users := untrusted_authors(work.session, dataset)):
        _end(alert, f"Not retrained: {removal_of(dataset, users)}")
        return
    reason = f"Drift alert {alert.id}: {alert.summary}"
    run = TrainingRun(
        id=new_id(),
        requested_by=MONITOR,
        reason=reason,
        dataset=dataset.reference if dataset is not None else None,
    )
    work.session.add(run)
    work.session.flush()
    work.publish(
        TrainingRequested(
            trace_id=new_trace_id(), run_id=run.id, reason=reason, requested_by=MONITOR
        )
    )
    trained_on = run.dataset or "the trainer's own data folder"
    _join(alert, run, f"Requested a training on {trained_on}: run {run.id}")


def _join(alert: DriftAlert, run: TrainingRun, text: str) -> None:
    alert.status, alert.training_run_id = AlertStatus.TRAINING.value, run.id
    _write(alert, text)


def _end(alert: DriftAlert, text: str) -> None:
    alert.status, alert.ended_at = AlertStatus.ENDED.value, now()
    _write(alert, text)
    log.info("drift_alert_ended", alert=alert.id, text=text)


def _write(alert: DriftAlert, text: str) -> None:
    write_step(alert, MONITOR, text)


def _write_once(alert: DriftAlert, text: str) -> None:
    """Append a step unless it is there, for a decision that is repeated until it changes."""
    if all(step["text"] != text for step in alert.steps):
        _write(alert, text)


def _replacement(session: Session, alert: DriftAlert) -> str | None:
    """Return the release that serves instead of the one whose products differ, if any."""
    last = last_done(session)
    is_replaced = last is not None and alert.release is not None and last.version != alert.release
    if last is None or not is_replaced or AlertState.of(alert).since is None:
        return None
    return last.version


def _unfinished_run(session: Session) -> TrainingRun | None:
    return session.scalar(select(TrainingRun).where(TrainingRun.status.in_(_UNFINISHED)).limit(1))
