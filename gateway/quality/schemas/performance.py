"""Response bodies of performance measurements."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from gateway.web.schemas import NextCursor


class ShiftOut(BaseModel):
    """Difference of products from those on which a release was measured."""

    reason: Literal["unlike", "foreign"] | None = Field(
        description="Why F1 cannot be estimated: the products are too `unlike` the held-out ones, "
        "or too many look `foreign`, as if they belonged to no category; `null` if it can."
    )
    effect: float = Field(description="How well both can be told apart, `2 AUC - 1`, 0 to 1.")
    foreign: float = Field(
        description="Share of answers that look more foreign than 95 % of the held-out ones."
    )
    effective_rows: float = Field(
        description="Number of equally weighted held-out products with the same information."
    )
    correction: float = Field(description="Added to the F1 that the confidences suggest.")
    deviation: float = Field(description="Standard deviation of the correction.")


class PerformanceOut(BaseModel):
    """F1 of a release, in total and by class, measured or estimated for one period."""

    id: str = Field(description="ID of the measurement, a UUID; IDs sort by time of creation.")
    measured_at: datetime = Field(description="Time of the measurement, in UTC.")
    kind: str = Field(
        description="`test`: held-out rows. `labelled`: answers sampled for review. `volunteered`: "
        "labels that users sent unasked, not a random sample. `estimated`: without labels. "
        "`not_estimated`: the products are too unlike those on which the release was measured."
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
    f1: float | None = Field(description="Weighted F1; `null` only for `not_estimated`.")
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
    shift: ShiftOut | None = Field(
        description="Difference of the estimated answers from those on which the release was "
        "measured; `null` for other kinds and for releases without known answers."
    )


class PerformanceList(BaseModel):
    """A page of measurements, newest first."""

    items: list[PerformanceOut] = Field(description="The measurements of the page.")
    next_cursor: NextCursor = None
