"""From an alert to a training, and back: what is decided, and what came of it.

    open ─ decide ─┬─▶ training ─ the run ended ─▶ ended
                   ├─▶ asking ─ a person allowed it ─▶ open
                   │          └ products are no longer worse ─▶ ended
                   └─▶ ended: the budget is used up

Everything is read from the rows, so a message that is lost or comes twice changes nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.contracts import DatasetUploaded, TrainingRequested
from shared.db.models import (
    HAS_PRODUCT,
    AlertStatus,
    DatasetStatus,
    DatasetVersion,
    DriftAlert,
    Job,
    TrainingRun,
    TrainingStatus,
    new_id,
    now,
)
from shared.db.session import UnitOfWork, Work, take_turns
from shared.lifecycle.alerts import raise_alert, write_step
from shared.logs import new_trace_id
from trainer.monitoring.drift.windows import QUALITY
from trainer.monitoring.latest_dataset import latest_dataset
from trainer.monitoring.settings import MonitorSettings

log = structlog.get_logger(__name__)

#: Who asks for trainings, and writes the steps.
MONITOR = "monitor"
WEEK = timedelta(days=7)
#: When labels were taken in, where none ever were.
NEVER = datetime.min.replace(tzinfo=UTC)
_UNFINISHED = (TrainingStatus.QUEUED.value, TrainingStatus.RUNNING.value)
#: The details' name of the version that has to be checked before the training.
AWAITED = "dataset_version_id"
#: The details' name of what says that the budget refused the training.
OVER_BUDGET = "over_budget"
#: What the calendar's alerts are raised by, their kind and their fingerprint.
CALENDAR = "calendar"


class AlertResponse:
    """Decides about alerts, one at a time.

    Every public method raises `Unavailable` when the database does not answer.
    """

    def __init__(self, unit_of_work: UnitOfWork, settings: MonitorSettings) -> None:
        self._unit_of_work = unit_of_work
        self._settings = settings

    def look(self) -> None:
        """Decide about what is open, and follow what is being trained."""
        self._ask_by_calendar()
        for alert_id in self._with_status(AlertStatus.OPEN):
            self.decide(alert_id)
        for alert_id in self._with_status(AlertStatus.TRAINING):
            self._follow(alert_id)

    def decide(self, alert_id: str) -> None:
        """Train, ask, or leave it; an alert that was decided already stays as it is."""
        with self._unit_of_work() as work:
            # Two alerts at once would both find the budget untouched.
            take_turns(work.session, "alert_response")
            alert = work.session.get(DriftAlert, alert_id, with_for_update=True)
            if alert is None or alert.status != AlertStatus.OPEN.value:
                return
            self._decide(work, alert)
            log.info("drift_alert_decided", alert=alert.id, status=alert.status)

    def _decide(self, work: Work, alert: DriftAlert) -> None:
        is_allowed = "allowed_by" in alert.details
        if not is_allowed and _is_about_quality(alert):
            # Nor does a training under way answer it, whose end would be the alert's.
            self._leave_to_people(alert)
        elif (run := _unfinished_run(work.session)) is not None:
            _train(alert, run, f"A training is under way already: run {run.id}")
        elif (other := _waiting_for_labels(work.session)) is not None:
            alert.status = AlertStatus.TRAINING.value
            alert.details = {**alert.details, AWAITED: other.details[AWAITED]}
            self._say(alert, f"A training begins once new labels are taken in: alert {other.id}")
        elif not is_allowed and self._settings.response == "ask":
            alert.status = AlertStatus.ASKING.value
            self._say(alert, f"Waits for a person: POST /v1/drift-alerts/{alert.id}/train")
        elif not is_allowed and (spent := self._spent(work.session)):
            alert.details = {**alert.details, OVER_BUDGET: True}
            self._end(alert, spent)
        else:
            self._begin(work, alert)

    def _leave_to_people(self, alert: DriftAlert) -> None:
        alert.status = AlertStatus.ASKING.value
        path = f"/v1/drift-alerts/{alert.id}"
        self._say(
            alert,
            "Not retrained: a training does not mend what is sent, so ask who sends it. This ends "
            f"once products are as they were, or by a person: POST {path}/dismiss, or "
            f"POST {path}/train where they will stay so",
        )

    def _spent(self, session: Session) -> str | None:
        """Why the budget forbids a training; `None` if it does not."""
        runs = session.scalar(
            select(func.count())
            .select_from(TrainingRun)
            .where(TrainingRun.requested_by == MONITOR, TrainingRun.requested_at > now() - WEEK)
        )
        allowed = self._settings.trainings_per_week
        if (runs or 0) < allowed:
            return None
        return (
            f"Not retrained: {runs} trainings were started within seven days, the budget is "
            f"{allowed} (RAYON_MONITOR_TRAININGS_PER_WEEK). A person may: POST /v1/training-runs"
        )

    def _begin(self, work: Work, alert: DriftAlert) -> None:
        base = latest_dataset(work.session, self._settings.dataset)
        labels = _new_labels(work.session, base.name) if base is not None else 0
        if base is None or not labels or _is_being_checked(work.session, base.name):
            self._request(work, alert, base)
            return
        version = DatasetVersion(
            id=new_id(),
            name=base.name,
            version=_last_number(work.session, base.name) + 1,
            created_by=MONITOR,
            asked={"base": base.version, "files": [], "remove": [], "corrected": True},
        )
        work.session.add(version)
        work.session.flush()
        work.publish(DatasetUploaded(trace_id=new_trace_id(), version_id=version.id))
        alert.status = AlertStatus.TRAINING.value
        alert.details = {**alert.details, AWAITED: version.id}
        self._say(alert, f"Takes {labels} new labels into the dataset: {version.reference}")

    def _request(self, work: Work, alert: DriftAlert, dataset: DatasetVersion | None) -> None:
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
        on = run.dataset or "the trainer's own folder"
        _train(alert, run, f"Asked for a training on {on}: run {run.id}")

    def _follow(self, alert_id: str) -> None:
        with self._unit_of_work() as work:
            # It may start a training, as `decide` may.
            take_turns(work.session, "alert_response")
            alert = work.session.get(DriftAlert, alert_id, with_for_update=True)
            if alert is None or alert.status != AlertStatus.TRAINING.value:
                return
            if alert.training_run_id is None:
                self._go_on(work, alert)
                return
            run = work.session.get_one(TrainingRun, alert.training_run_id)
            if run.status in _UNFINISHED:
                return
            is_done = run.status == TrainingStatus.FINISHED.value
            said = "Retrained" if is_done else f"The training {run.status}"
            self._end(alert, f"{said}, run {run.id}. {run.message or ''}".strip())

    def _go_on(self, work: Work, alert: DriftAlert) -> None:
        """Train when the version with the new labels was checked, once for all who wait for it."""
        awaited = alert.details.get(AWAITED, "")
        version = work.session.get(DatasetVersion, awaited)
        if version is not None and version.status == DatasetStatus.CHECKING.value:
            return
        run = _unfinished_run(work.session) or _run_after(work.session, awaited)
        if run is not None:
            _train(alert, run, f"Shares a training: run {run.id}")
            return
        if version is not None and version.status == DatasetStatus.READY.value:
            self._request(work, alert, version)
            return
        why = version.message if version is not None else "the version is gone"
        self._say(alert, f"The new labels could not be taken in: {why}")
        self._request(work, alert, latest_dataset(work.session, self._settings.dataset))

    def _ask_by_calendar(self) -> None:
        days = self._settings.train_every_days
        if not days:
            return
        with self._unit_of_work() as work:
            last = work.session.scalar(select(func.max(TrainingRun.requested_at)))
            since = now() - timedelta(days=days)
            if (last is not None and last > since) or self._is_calendar_quiet(work.session, since):
                return
            raise_alert(
                work,
                source=MONITOR,
                raised_by=CALENDAR,
                kind=CALENDAR,
                release=None,
                summary=f"No training was asked for within {days} days",
                details={},
                trace_id=new_trace_id(),
                fingerprint=CALENDAR,
            )

    def _is_calendar_quiet(self, session: Session, since: datetime) -> bool:
        """Whether the calendar asked lately, and nothing came of it that would change by asking.

        What the budget refused is asked again as soon as the budget has room. A person who
        dismissed an alert has decided for all of the calendar's days.
        """
        last = session.scalar(
            select(DriftAlert)
            .where(
                DriftAlert.source == MONITOR,
                DriftAlert.kind == CALENDAR,
                DriftAlert.training_run_id.is_(None),
                DriftAlert.ended_at > since,
            )
            .order_by(DriftAlert.ended_at.desc())
            .limit(1)
        )
        if last is None:
            return False
        return OVER_BUDGET not in last.details or self._spent(session) is not None

    def _with_status(self, status: AlertStatus) -> Sequence[str]:
        with self._unit_of_work.reading() as session:
            return session.scalars(
                select(DriftAlert.id)
                .where(DriftAlert.status == status.value)
                .order_by(DriftAlert.id)
            ).all()

    def _end(self, alert: DriftAlert, text: str) -> None:
        alert.status, alert.ended_at = AlertStatus.ENDED.value, now()
        self._say(alert, text)
        log.info("drift_alert_ended", alert=alert.id, text=text)

    def _say(self, alert: DriftAlert, text: str) -> None:
        write_step(alert, MONITOR, text)


def _unfinished_run(session: Session) -> TrainingRun | None:
    return session.scalar(select(TrainingRun).where(TrainingRun.status.in_(_UNFINISHED)).limit(1))


def _waiting_for_labels(session: Session) -> DriftAlert | None:
    """An alert whose training begins when a version with new labels was checked."""
    return session.scalar(
        select(DriftAlert)
        .where(
            DriftAlert.status == AlertStatus.TRAINING.value,
            DriftAlert.training_run_id.is_(None),
            DriftAlert.details[AWAITED].as_string() != "",
        )
        .order_by(DriftAlert.id)
        .limit(1)
    )


def _run_after(session: Session, version_id: str) -> TrainingRun | None:
    """The run that an alert got which waited for the same version, also one that has ended."""
    return session.scalar(
        select(TrainingRun)
        .join(DriftAlert, DriftAlert.training_run_id == TrainingRun.id)
        .where(DriftAlert.details[AWAITED].as_string() == version_id)
        .limit(1)
    )


def _is_about_quality(alert: DriftAlert) -> bool:
    """Whether products are worse, as the monitor measured, and nothing else moved."""
    return alert.source == MONITOR and alert.kind == QUALITY


def _train(alert: DriftAlert, run: TrainingRun, text: str) -> None:
    alert.status, alert.training_run_id = AlertStatus.TRAINING.value, run.id
    write_step(alert, MONITOR, text)


def _new_labels(session: Session, name: str) -> int:
    """Labels that no version of a dataset has taken in, of products that are still there."""
    query = (
        select(func.count())
        .select_from(Job)
        .where(Job.labelled_at > _labels_taken_in(session, name), HAS_PRODUCT)
    )
    return session.scalar(query) or 0


def _labels_taken_in(session: Session, name: str) -> datetime:
    """Labels that were given before this moment are in a version, and in all that follow it."""
    versions = session.execute(
        select(DatasetVersion.created_at, DatasetVersion.asked).where(
            DatasetVersion.name == name, DatasetVersion.status == DatasetStatus.READY.value
        )
    )
    return max((at for at, asked in versions if asked.get("corrected")), default=NEVER)


def _last_number(session: Session, name: str) -> int:
    # Of versions that failed too, whose numbers are taken.
    query = select(func.max(DatasetVersion.version)).where(DatasetVersion.name == name)
    return session.scalar(query) or 0


def _is_being_checked(session: Session, name: str) -> bool:
    query = select(DatasetVersion.id).where(
        DatasetVersion.name == name, DatasetVersion.status == DatasetStatus.CHECKING.value
    )
    return session.scalar(query.limit(1)) is not None
