"""Bodies of requests and responses of drafts."""

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
