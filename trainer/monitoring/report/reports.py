"""Makes the monthly report by the calendar and on request, and keeps it."""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select

from shared.db.models import DriftAlert, Job, Report, now
from shared.db.session import UnitOfWork, Work
from shared.lifecycle.alerts import raise_alert
from shared.logs import new_trace_id
from trainer.monitoring.performance.answers import Registry
from trainer.monitoring.performance.measure import Performances
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.report.document import gather
from trainer.monitoring.report.events import last_served
from trainer.monitoring.report.page import render
from trainer.monitoring.report.verdict import Level

log = structlog.get_logger(__name__)

SOURCE = "report"
#: The verdict of an older month starts nothing: what it saw is long gone.
YOUNG = timedelta(days=40)


@dataclass
class Reports:
    """Makes reports, one at a time.

    Every public method raises `Unavailable` when the database or the registry does not answer.
    """

    unit_of_work: UnitOfWork
    registry: Registry
    performances: Performances
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def make_due(self, moment: datetime | None = None) -> None:
        """Make the report of the month before, once, when that month is over.

        Before the first answer of all there is nothing to report.
        """
        moment = moment or now()
        month = Period.month_of(moment).before()
        with self.unit_of_work.reading() as session:
            made_at = session.scalar(select(Report.made_at).where(Report.month == month.name))
            began = select(Job.id).where(Job.finished_at < month.ends_at).limit(1)
            has_begun = session.scalar(began) is not None
        if has_begun and (made_at is None or made_at < month.ends_at):
            self.make(month.name, moment)

    def make(self, month: str, moment: datetime | None = None) -> Level | None:
        """Make the report of a month, again if there is one; returns its verdict.

        A month that has not begun has no report, and none is made.

        Raises:
            InvalidInput: Not a month.
        """
        moment = moment or now()
        period = Period.month(month)
        if period.begins_at > moment:
            log.warning("report_not_begun", month=month)
            return None
        with self._turn:
            self._measure(period, moment)
            with self.unit_of_work.reading() as session:
                document = gather(session, self.registry, period, moment)
            page = render(document)
            verdict = Level(document["verdict"]["verdict"])
            with self.unit_of_work() as work:
                self._keep(work, document, page, moment)
                # A month that goes on is judged once more when it is over: asking for a training
                # now would leave the final verdict without one.
                is_over_lately = period.ends_at <= moment < period.ends_at + YOUNG
                if verdict is Level.RETRAIN and is_over_lately:
                    _ask_for_training(work, document)
        log.info("report_made", month=month, verdict=verdict, bytes=len(page))
        return verdict

    def _measure(self, period: Period, moment: datetime) -> None:
        """Figures that the report shows and that nobody asked for yet."""
        self.performances.measure_labels(moment)
        for one in (period.before(), *period.days(), period):
            self.performances.estimate(one, moment)

    def _keep(self, work: Work, document: dict[str, Any], page: str, moment: datetime) -> None:
        work.session.merge(
            Report(
                month=document["month"],
                made_at=moment,
                verdict=document["verdict"]["verdict"],
                document=document,
                page=page,
            )
        )


def _ask_for_training(work: Work, document: dict[str, Any]) -> None:
    month = document["month"]
    fingerprint = f"{SOURCE}:{month}"
    # Unlike other alerts, one that is done with is not raised again: the same month, looked at
    # again, has nothing new to say.
    known = select(DriftAlert.id).where(DriftAlert.fingerprint == fingerprint).limit(1)
    if work.session.scalar(known) is not None:
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
