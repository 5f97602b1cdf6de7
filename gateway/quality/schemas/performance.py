"""How good a release is."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class PerformanceOut(BaseModel):
    """How good a release is, by modality and class, measured or estimated at one time."""

    id: str
    measured_at: datetime
    kind: str = Field(
        description="`test`: held-out rows. `labelled`: answers drawn for review. `volunteered`: "
        "labelled of people's own accord, no fair sample. `estimated`: without labels."
    )
    release: str
    modality: str = Field(description="`fusion` is what was answered; `text` and `image` alone.")
    begins_at: datetime | None = Field(description="Of the answers; none on the test set.")
    ends_at: datetime | None
    rows: int
    f1: float = Field(description="Weighted.")
    low: float | None = Field(
        description="End of the 95 % interval; none where the release speaks for itself."
    )
    high: float | None
    past_error: float | None = Field(
        description="Of an estimate: how far earlier ones were off, as root of the mean square."
    )
    classes: dict[str, dict[str, Any]] = Field(
        description="By code: `f1 low high rows`, and `taken_for`, rows by the wrong answer."
    )


class PerformanceList(BaseModel):
    """Figures, newest first."""

    items: list[PerformanceOut]
    next_cursor: str | None = None
