"""Request and response bodies of monthly reports."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from gateway.web.schemas import Body


class ReportRequest(Body):
    """The month to report on."""

    month: str = Field(max_length=16, examples=["2026-11"])


class ReportSummary(BaseModel):
    """A month and its verdict."""

    month: str
    made_at: datetime
    verdict: Literal["healthy", "watch", "retrain"]


class ReportOut(ReportSummary):
    """A month's report with all data of its page."""

    document: dict[str, Any]


class ReportList(BaseModel):
    """Reports, newest month first."""

    items: list[ReportSummary]
