"""True categories that people give, and the answers they are asked to look at."""

from datetime import datetime

from pydantic import BaseModel, Field

from gateway.jobs.schemas import Result
from gateway.web.schemas import Body


class LabelIn(Body):
    """The true category, from a person."""

    prdtypecode: int | None = Field(description="`null` takes a wrong label back.")


class LabelProblemOut(BaseModel):
    """Why a row of a label file was not taken."""

    row: int
    line: int
    column: str | None
    value: str
    reason: str


class LabelReportOut(BaseModel):
    """What became of the rows of a label file."""

    rows: int
    taken: int
    skipped: int = Field(description="Rows without a code.")
    rejected: int
    problems: list[LabelProblemOut] = Field(description="The first thousand rejected rows.")


class ReviewOut(BaseModel):
    """An answer that a person is asked to look at."""

    job_id: str
    chosen_at: datetime
    reason: str = Field(description="`random`, or `uncertain`: the models doubted.")
    chance: float = Field(description="How likely it was to be chosen, by either reason.")
    designation: str
    description: str
    image: str | None = Field(description="Where its image is, if it has one.")
    result: Result | None
    release: str
    catalog_id: str | None
    label: int | None
    labelled_at: datetime | None
    labelled_by: str | None


class ReviewPage(BaseModel):
    """Reviews, the newest jobs first."""

    items: list[ReviewOut]
    next_cursor: str | None
