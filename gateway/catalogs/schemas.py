"""Catalogs."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from gateway.jobs.schemas import JobError, ModelName


class CatalogCounts(BaseModel):
    """Rows by what became of them; `queued` are those without an answer yet."""

    rows: int
    rejected: int
    queued: int
    done: int
    failed: int
    cancelled: int


class RefusedImage(BaseModel):
    """An entry of the archive that is not read, and why."""

    name: str
    reason: str


class CatalogOut(BaseModel):
    """A catalog and how far it is.

    Lists hold the first thousand; the counts beside them say how many there are.
    """

    id: str
    name: str = Field(description="Of the uploaded file.")
    status: Literal["validating", "running", "finished", "failed", "cancelled"]
    model: ModelName
    release: str
    dry_run: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    counts: CatalogCounts
    rows_per_second: float | None = Field(description="Over the last seconds; at the end, overall.")
    eta_seconds: float | None = Field(description="Until the last answer, at the present rate.")
    warnings: int = Field(description="Rows that go by their text: their image is missing.")
    unmatched_images: list[str] = Field(description="Named by a row, not in the archive.")
    unmatched_count: int
    unused_images: list[str] = Field(description="In the archive, named by no row.")
    unused_count: int
    refused_images: list[RefusedImage] = Field(description="In the archive, and not read.")
    refused_count: int
    omits_columns: bool = Field(
        description="JSON Lines with more keys than a table has columns: results as CSV have the "
        "first ones, as JSON Lines all."
    )
    error: JobError | None


class CatalogPage(BaseModel):
    """Catalogs, newest first."""

    items: list[CatalogOut]
    next_cursor: str | None
