"""Creates and stores the monthly report, on a schedule and on request."""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from shared.db.models import DriftAlert, Job, Report, ReportRequest, now
from shared.db.session import UnitOfWork, Work
from shared.inference.releases.access import ServedReleases
from shared.lifecycle.alerts import raise_alert
from shared.logs import new_trace_id
from shared.skipping import skipping
from trainer.monitoring.performance.measure import Performances
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.report.document import gather
from trainer.monitoring.report.events import last_served
from trainer.monitoring.report.page import render
from trainer.monitoring.report.verdict import Level

log = structlog.get_logger(__name__)

SOURCE = "report"
#: Maximum age of a month whose verdict may start a training; older data is out of date.
RECENT = timedelta(days=40)
#: Time for the message of a request to arrive, before its row is looked for.
MESSAGE_TIME = timedelta(minutes=1)


@dataclass
class Reports:
    """Creates reports, one at a time.

    Every public method raises `Unavailable` if the database or the registry does not answer.
    """

    unit_of_work: UnitOfWork
    registry: ServedReleases
    performances: Performances
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def make_due(self, moment: datetime | None = None) -> None:
        """Create the report of the previous month unless it was created after that month ended.

        A month before the first answer has no report.
        """
        moment = moment or now()
        month = Period.month_of(moment).before()
        with self.unit_of_work.reading() as session:
            made_at = session.scalar(select(Report.made_at).where(Report.month == month.name))
            began = select(Job.id).where(Job.finished_at < month.ends_at).limit(1)
            has_begun = session.scalar(began) is not None
        if has_begun and (made_at is None or made_at < month.ends_at):
            self.make(month.name, moment)

    def make_requested(self, moment: datetime | None = None) -> None:
        """Create the reports whose requests are still there: their messages were lost."""
        moment = moment or now()
        # A request from the future was made before the clock was set back.
        is_late = or_(
            ReportRequest.requested_at < moment - MESSAGE_TIME, ReportRequest.requested_at > moment
        )
        with self.unit_of_work.reading() as session:
            months = session.scalars(select(ReportRequest.month).where(is_late)).all()
        for month in months:
            with skipping("report", month):
                self._make(month, moment, is_only_if_requested=True)

    def make(self, month: str, moment: datetime | None = None) -> Level | None:
        """Create or replace the report of a month; return its verdict.

        Returns `None` for a month that has not begun, which has no report.

        Raises:
            InvalidInput: `month` is not a month.
        """
        return self._make(month, moment or now())

    def _make(
        self, month: str, moment: datetime, *, is_only_if_requested: bool = False
    ) -> Level | None:
        period = Period.month(month)
        with self._turn:
            with self.unit_of_work.reading() as session:
                requested_at = _requested_at(session, month)
            if is_only_if_requested and requested_at is None:
                # A message arrived, and its run ended while this one waited for its turn.
                return None
            if period.begins_at > moment:
                log.warning("report_skipped", month=month, reason="the month has not begun")
                with self.unit_of_work() as work:
                    _forget(work, month, requested_at)
                return None
            return self._create(period, moment, requested_at)

    def _create(self, period: Period, moment: datetime, requested_at: datetime | None) -> Level:
        self._measure(period, moment)
        with self.unit_of_work.reading() as session:
            document = gather(session, self.registry, period, moment)
        page = render(document)
        verdict = Level(document["verdict"]["verdict"])
        with self.unit_of_work() as work:
            self._store(work, document, page, moment)
            _forget(work, period.name, requested_at)
            # An unfinished month is judged again when it is over. A request now would suppress
            # the one that follows from the final verdict.
            ended_recently = period.ends_at <= moment < period.ends_at + RECENT
            if verdict is Level.RETRAIN and ended_recently:
                _request_training(work, document)
        log.info("report_created", month=period.name, verdict=verdict, bytes=len(page))
        return verdict

    def _measure(self, period: Period, moment: datetime) -> None:
        """Measure the figures of the report that are still missing."""
        self.performances.measure_labels(moment)
        for part in (period.before(), *period.days(), period):
            self.performances.estimate(part, moment)

    def _store(self, work: Work, document: dict[str, Any], page: str, moment: datetime) -> None:
        work.session.merge(
            Report(
                month=document["month"],
                made_at=moment,
                verdict=document["verdict"]["verdict"],
                document=document,
                page=page,
            )
        )


def _requested_at(session: Session, month: str) -> datetime | None:
    return session.scalar(select(ReportRequest.requested_at).where(ReportRequest.month == month))


def _forget(work: Work, month: str, requested_at: datetime | None) -> None:
    """Delete a request that is fulfilled; one that was made meanwhile stays."""
    if requested_at is not None:
        work.session.execute(
            delete(ReportRequest).where(
                ReportRequest.month == month, ReportRequest.requested_at == requested_at
            )
        )


def _request_training(work: Work, document: dict[str, Any]) -> None:
    month = document["month"]
    fingerprint = f"{SOURCE}:{month}"
    # Unlike other alerts, this one is not raised again after it has ended: a second report of the
    # same month has no new evidence.
    existing = select(DriftAlert.id).where(DriftAlert.fingerprint == fingerprint).limit(1)
    if work.session.scalar(existing) is not None:
        return
    raise_alert(
        work,
        source=SOURCE,
        raised_by="monitor",
        kind=SOURCE,
        release=last_served(document["releases"]),
        summary=f"Report of {month}: {document['verdict']['sentence']}"[:500],
        details={"rules": document["verdict"]["rules"]},
        trace_id=new_trace_id(),
        fingerprint=fingerprint,
    )
