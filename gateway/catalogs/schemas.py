"""Response bodies of catalogs."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from gateway.jobs.schemas import JobError, ModelName


class CatalogCounts(BaseModel):
    """Number of rows by status; `queued` rows have no answer yet."""

    rows: int
    rejected: int
    queued: int
    done: int
    failed: int
    cancelled: int


class RefusedImage(BaseModel):
    """An entry of the archive that is not read, and the reason."""

    name: str
    reason: str


class CatalogOut(BaseModel):
    """A catalog and its progress.

    Each list holds the first entries, at most a thousand and 50,000 characters; the count beside
    it is the total.
    """

    id: str
    name: str = Field(description="Name of the uploaded file.")
    status: Literal["validating", "running", "finished", "failed", "cancelled"]
    model: ModelName
    release: str
    dry_run: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    counts: CatalogCounts
    rows_per_second: float | None = Field(
        description="Rate over the last seconds; once finished, over the whole run."
    )
    eta_seconds: float | None = Field(
        description="Estimated seconds until the last answer, at the current rate."
    )
    used_columns: dict[str, str] = Field(
        description="Column of the table that is used for each field; empty until the check ends."
    )
    unused_columns: list[str] = Field(
        description="Columns that are only copied to the results, at most a hundred."
    )
    notes: list[str] = Field(
        description="Sentences about the table as a whole, such as a column "
        "of titles that is missing."
    )
    warnings: int = Field(
        description="Rows whose image is missing or was not sent, classified by text only."
    )
    unmatched_images: list[str] = Field(
        description="Images that a row names but the archive does not contain."
    )
    unmatched_count: int
    unused_images: list[str] = Field(description="Images in the archive that no row names.")
    unused_count: int
    refused_images: list[RefusedImage] = Field(
        description="Entries of the archive that are not read."
    )
    refused_count: int
    omits_columns: bool = Field(
        description="True for JSON Lines with more keys than a table may have columns: results as "
        "CSV contain the first keys only, results as JSON Lines contain all."
    )
    error: JobError | None


class CatalogPage(BaseModel):
    """A page of catalogs, newest first."""

    items: list[CatalogOut]
    next_cursor: str | None
