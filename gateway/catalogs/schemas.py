"""Response bodies of catalogs."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from gateway.jobs.schemas import JobError, ModelName
from gateway.web.schemas import NextCursor


class CatalogCounts(BaseModel):
    """Number of rows by status; `queued` rows have no answer yet."""

    rows: int = Field(description="Rows of the table, rejected ones included.")
    rejected: int = Field(description="Rows that are invalid and get no job.")
    queued: int = Field(description="Rows that wait for their answer.")
    done: int = Field(description="Rows with an answer.")
    failed: int = Field(description="Rows that failed for good.")
    cancelled: int = Field(description="Rows that were cancelled before they had an answer.")


class RefusedImage(BaseModel):
    """An entry of the archive that is not read, and the reason."""

    name: str = Field(description="Name of the entry in the archive.")
    reason: str = Field(description="Sentence that states why it is not read.")


class RejectedRow(BaseModel):
    """A rejected row."""

    row: int = Field(description="Number of the row, from 1; the header does not count.")
    line: int = Field(description="Number of the row's first line in the file, from 1.")
    value: str = Field(description="Beginning of the cell, or of the row, that was refused.")


class Rejection(BaseModel):
    """Rows that are rejected for the same reason."""

    column: str = Field(description="Column at fault; empty if the whole row is.")
    code: str = Field(
        description="Stable name of the kind of reason, such as `nothing_to_classify`."
    )
    reason: str = Field(description="Sentence that states what was expected.")
    count: int = Field(description="Number of the rows.")
    examples: list[RejectedRow] = Field(description="The first rows, at most five.")


class CatalogOut(BaseModel):
    """A catalog and its progress.

    Each list holds the first entries, at most a thousand and 50,000 characters; the count beside
    it is the total.
    """

    id: str = Field(description="ID of the catalog, a UUID; IDs sort by time of creation.")
    name: str = Field(description="Name of the uploaded file.")
    status: Literal["validating", "running", "finished", "failed", "cancelled"] = Field(
        description="`validating`: the rows are being checked. `running`: they are being "
        "classified. `finished`: all rows are final. `failed`: the file cannot be used; see "
        "`error`. `cancelled`: ended on request."
    )
    model: ModelName = Field(
        description="Model that the rows are sent to: `text`, `image`, or `fusion` of both."
    )
    release: str = Field(description="Version of the release that answers.")
    dry_run: bool = Field(description="True if the rows are only checked, not classified.")
    has_images: bool = Field(description="True if an image archive was sent and is used.")
    created_at: datetime = Field(description="Time of the upload, in UTC.")
    started_at: datetime | None = Field(
        description="Time at which the classification began, in UTC; `null` before."
    )
    finished_at: datetime | None = Field(
        description="Time at which the catalog became final, in UTC; `null` before."
    )
    counts: CatalogCounts = Field(description="Number of rows by status.")
    rows_per_second: float | None = Field(
        description="Rate over the last seconds; once finished, over the whole run. `null` "
        "before it is measured."
    )
    eta_seconds: float | None = Field(
        description="Estimated seconds until the last answer, at the current rate; `null` "
        "unless the catalog is running and its rate is known."
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
    rejections: list[Rejection] = Field(
        description="Rejected rows by column and reason, the most frequent first, at most 31."
    )
    warnings: int = Field(
        description="Rows whose image is missing or was not sent, classified by text only."
    )
    unmatched_images: list[str] = Field(
        description="Images that a row names but the archive does not contain."
    )
    unmatched_count: int = Field(description="Total number of `unmatched_images`.")
    unused_images: list[str] = Field(description="Images in the archive that no row names.")
    unused_count: int = Field(description="Total number of `unused_images`.")
    refused_images: list[RefusedImage] = Field(
        description="Entries of the archive that are not read."
    )
    refused_count: int = Field(description="Total number of `refused_images`.")
    omits_columns: bool = Field(
        description="True for JSON Lines with more keys than a table may have columns: results as "
        "CSV contain the first keys only, results as JSON Lines contain all."
    )
    error: JobError | None = Field(
        description="The reason of the failure; `null` unless the status is `failed`."
    )
    kept_until: datetime | None = Field(
        description="Time until which the files of a draft are kept, so that it can be checked "
        "again or started, in UTC; `null` for other catalogs."
    )


class CatalogPage(BaseModel):
    """A page of catalogs, newest first."""

    items: list[CatalogOut] = Field(description="The catalogs of the page.")
    next_cursor: NextCursor
