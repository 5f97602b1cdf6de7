"""Bodies of requests and responses of drafts, and of uploads in pieces."""

from datetime import datetime

from pydantic import BaseModel, Field

from gateway.web.schemas import Body


class SampleRow(BaseModel):
    """One of the first rows of a table."""

    line: int = Field(description="Number of the row's first line in the file, from 1.")
    cells: list[str] = Field(
        description="Cells in the order of the columns, each at most 200 characters."
    )


class CatalogSample(BaseModel):
    """Header and first rows of a table."""

    columns: list[str] = Field(description="Columns of the header, in order.")
    rows: list[SampleRow] = Field(description="The first rows, at most five.")
    used_columns: dict[str, str] = Field(
        description="Column of the table that is used for each field, stated or guessed by its "
        "name; fields without one are left out."
    )
    remembered: bool = Field(
        description="True if the columns are those that you stated for an earlier table with the "
        "same header."
    )


class CheckRequest(Body):
    """Columns with which a draft is checked."""

    columns: dict[str, str | None] = Field(
        description="Column of `designation`, `description` or `image`; `null` for no column. "
        "Fields that are left out are guessed by the names of the columns."
    )


class UploadCreate(Body):
    """A file that is sent in pieces."""

    name: str = Field(min_length=1, max_length=1_000, description="Name of the file.")
    size: int = Field(ge=1, le=2**53, description="Size of the whole file, in bytes.")


class UploadOut(BaseModel):
    """A file that is sent in pieces."""

    id: str = Field(description="ID of the upload, a UUID.")
    name: str = Field(description="Name of the file.")
    size: int = Field(description="Announced size of the whole file, in bytes.")
    offset: int = Field(
        description="Bytes that have arrived, where the next piece begins; equal to `size` once "
        "the file is complete."
    )
    expires_at: datetime = Field(
        description="Time after which it is deleted if no catalog has taken it, in UTC."
    )
