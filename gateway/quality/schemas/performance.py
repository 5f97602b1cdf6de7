"""Response bodies of performance measurements."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from gateway.web.schemas import NextCursor


class PerformanceOut(BaseModel):
    """F1 of a release, in total and by class, measured or estimated for one period."""

    id: str = Field(description="ID of the measurement, a UUID; IDs sort by time of creation.")
    measured_at: datetime = Field(description="Time of the measurement, in UTC.")
    kind: str = Field(
        description="`test`: held-out rows. `labelled`: answers sampled for review. `volunteered`: "
        "labels that users sent unasked, not a random sample. `estimated`: without labels."
    )
    release: str = Field(description="Version of the measured release.")
    modality: str = Field(
        description="`fusion` is the final answer; `text` and `image` are single modalities."
    )
    begins_at: datetime | None = Field(
        description="Begin of the answers' period, in UTC; `null` for the test set."
    )
    ends_at: datetime | None = Field(
        description="End of the answers' period, in UTC; `null` for the test set."
    )
    rows: int = Field(description="Number of rows or answers that were measured.")
    f1: float = Field(description="Weighted F1.")
    low: float | None = Field(
        description="Lower end of the 95 % interval; `null` where the release reports its own F1."
    )
    high: float | None = Field(
        description="Upper end of the 95 % interval; `null` where the release reports its own F1."
    )
    past_error: float | None = Field(
        description="RMSE of earlier estimates against labels; `null` unless estimated."
    )
    classes: dict[str, dict[str, Any]] = Field(
        description="By code: `f1 low high rows`, and `taken_for`: misclassified rows by answer."
    )


class PerformanceList(BaseModel):
    """A page of measurements, newest first."""

    items: list[PerformanceOut] = Field(description="The measurements of the page.")
    next_cursor: NextCursor = None
