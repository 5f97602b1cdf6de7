"""Monthly reports: requested here, written by the monitor."""

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from shared.contracts import ReportRequested
from shared.db.models import Report, ReportRequest, now
from shared.db.session import Work, take_turns
from shared.errors import InvalidInput, NotFound

MONTH = r"^20\d\d-(0[1-9]|1[0-2])$"


def request(work: Work, month: str, trace_id: str) -> None:
    """Request a month's report from the monitor, after the commit.

    The row outlives a message that is lost: the monitor looks for it too.

    Raises:
        InvalidInput: The month is malformed or has not begun.
    """
    _require_month(month)
    present = f"{now():%Y-%m}"
    if month > present:
        raise InvalidInput(
            f"Expected the current month, {present}, or an earlier one. Received: {month!r}",
            field=("month",),
        )
    take_turns(work.session, "report_requests")
    work.session.merge(ReportRequest(month=month, requested_at=now()))
    work.publish(ReportRequested(trace_id=trace_id, month=month))


def newest(session: Session, limit: int) -> Sequence[Row[str, datetime, str]]:
    """Return month, time and verdict of the reports, newest month first."""
    columns = (Report.month, Report.made_at, Report.verdict)
    return session.execute(select(*columns).order_by(Report.month.desc()).limit(limit)).all()


def find(session: Session, month: str) -> Report:
    """Return the report of a month.

    Raises:
        InvalidInput: The month is malformed.
        NotFound: The month has no report.
    """
    _require_month(month)
    report = session.get(Report, month)
    if report is None:
        raise NotFound(
            f'No report of {month}; POST /v1/reports {{"month": "{month}"}} requests one'
        )
    return report


def _require_month(month: str) -> None:
    if not re.match(MONTH, month):
        raise InvalidInput(
            f"Expected a month such as `2026-11`. Received: {month!r}", field=("month",)
        )
