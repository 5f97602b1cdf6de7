"""Request and response bodies of monthly reports."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from gateway.web.schemas import Body


class ReportRequest(Body):
    """The month to report on."""

    month: str = Field(
        max_length=16,
        examples=["2026-11"],
        description="Month of the report in UTC, as year and month; the current one or an earlier "
        "one.",
    )


class ReportSummary(BaseModel):
    """A month and its verdict."""

    month: str = Field(description="Month of the report in UTC, such as `2026-11`.")
    made_at: datetime = Field(description="Time at which the report was written, in UTC.")
    verdict: Literal["healthy", "watch", "retrain"] = Field(
        description="`healthy`: nothing to do. `watch`: look at the named findings. `retrain`: a "
        "training run is advised."
    )


class ReportOut(ReportSummary):
    """A month's report with all data of its page."""

    document: dict[str, Any] = Field(
        description="All data of the report, by section; `format` is its version."
    )


class ReportList(BaseModel):
    """Reports, newest month first."""

    items: list[ReportSummary] = Field(description="The reports, at most `limit`.")
