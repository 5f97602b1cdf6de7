"""Bodies of requests and responses about the rows of a catalog that need a person."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field

from gateway.web.schemas import Body, NextCursor

#: Rows that a request changes at most, and rows that one fill changes.
MOST_ROWS = 1_000
MOST_FILLED = 10_000
#: Largest row, in characters, as in an upload.
MOST_CHARACTERS = 1024 * 1024
#: Longest cell of a fill, which is stored once for each row.
FILL_CHARACTERS = 10_000


class Kind(StrEnum):
    """Rows that need a person: without a job, without an answer, or with an incomplete one."""

    REJECTED = "rejected"
    FAILED = "failed"
    DEGRADED = "degraded"


class RowStatus(StrEnum):
    """State of a row that needs a person."""

    REJECTED = "rejected"
    FAILED = "failed"
    DEGRADED = "degraded"
    REPAIRED = "repaired"
    RUNNING = "running"
    DONE = "done"


class RowProblem(BaseModel):
    """The reason why a row is rejected, failed or degraded."""

    code: str = Field(
        description="Stable name of the reason, such as `text_too_long`, `text_missing`, "
        "`image_missing` or `cells_differ`."
    )
    column: str | None = Field(description="Column at fault; `null` for the whole row.")
    value: str = Field(description="Beginning of the value at fault.")
    message: str = Field(description="Sentence that states the reason.")


class CatalogRow(BaseModel):
    """A row of a catalog with its changes."""

    row: int = Field(description="Number of the row from 1, as in `/errors`.")
    line: int = Field(description="Line of the uploaded file at which the row begins, from 1.")
    status: RowStatus = Field(
        description="`rejected`, `failed` or `degraded`; `repaired`: ready to run; `running`: "
        "waits for its answer; `done`: has an answer of every input."
    )
    problem: RowProblem | None = Field(
        description="Problem of the row with its changes; `null` if it has none."
    )
    cells: dict[str, str] = Field(description="Cells by column, with the changes.")
    changed: list[str] = Field(description="Columns whose cells were changed.")
    image: str = Field(description="Name of the image; empty if the row names none.")
    has_image: bool = Field(description="True if an image was added to the row.")
    version: int = Field(
        description="Number of changes so far. Send it back with a change, so that the change is "
        "refused if somebody else has changed the row since."
    )
    job_id: str | None = Field(description="ID of the job of the row; `null` if it has none.")


class ReasonCount(BaseModel):
    """Rows with one reason."""

    code: str = Field(description="Code of the reason.")
    count: int = Field(description="Number of rows.")


class CatalogRowPage(BaseModel):
    """A page of the rows that need a person, in the order of the file."""

    items: list[CatalogRow] = Field(description="The rows of the page.")
    columns: list[str] = Field(description="Columns of the file; repeated names are numbered.")
    used_columns: dict[str, str] = Field(
        description="Column of each field: `designation`, `description`, `image` or others."
    )
    reasons: list[ReasonCount] = Field(description="Number of rows by reason, most first.")
    ready: int = Field(description="Repaired rows that the next run includes.")
    next_cursor: NextCursor


class RowChange(Body):
    """Changed cells of one row."""

    row: Annotated[int, Field(ge=1, description="Number of the row.")]
    cells: dict[str, str | None] | None = Field(
        default=None,
        description="New cells by column; `null` for the cell as uploaded. `null` instead of an "
        "object discards all changes since the last run.",
    )
    version: int | None = Field(
        default=None,
        description="`version` of the row that was changed; a row that somebody has changed since "
        "is left alone. Omit it to overwrite.",
    )


class Fill(Body):
    """One cell for all rows that were rejected for one reason."""

    reason: Annotated[str, Field(max_length=32, description="Code of the reason.")]
    column: Annotated[str, Field(description="Column to fill.")]
    value: Annotated[str, Field(max_length=FILL_CHARACTERS, description="New cell.")]


class RowsPatch(Body):
    """Changes of rows."""

    rows: list[RowChange] = Field(
        default=[], max_length=MOST_ROWS, description="Changes, at most one for each row."
    )
    fill: Fill | None = Field(
        default=None,
        description="Fill one column of all rows with one reason, after the other changes; the "
        "first 10,000 rows at once.",
    )


class RowOutcome(BaseModel):
    """Outcome of the change of one row."""

    row: int = Field(description="Number of the row.")
    saved: bool = Field(description="True if the change is saved, whether or not the row is valid.")
    error: str | None = Field(
        description="Sentence that states why the change is not saved; `null` if it is."
    )
    item: CatalogRow | None = Field(
        description="The row as it is now; `null` if the catalog has no such row to repair."
    )


class RowOutcomes(BaseModel):
    """Outcomes of the changes; a wrong row never affects the others."""

    items: list[RowOutcome] = Field(description="One outcome for each row of `rows`.")
    filled: int = Field(description="Rows that `fill` changed.")
    ready: int = Field(description="Repaired rows that the next run includes.")


class AddedImages(BaseModel):
    """Outcome of images that were added to rows by their names."""

    rows: int = Field(description="Rows that got their image.")
    images: int = Field(description="Images that are used.")
    unused: list[str] = Field(description="Images that no such row names, at most a thousand.")
    refused: list[str] = Field(
        description="Images that cannot be used, each with the reason, at most a thousand."
    )
    ready: int = Field(description="Repaired rows that the next run includes.")
