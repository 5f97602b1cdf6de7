"""Request and response bodies of labels and reviews."""

from datetime import datetime

from pydantic import BaseModel, Field

from gateway.jobs.schemas import Result
from gateway.web.schemas import Body


class LabelIn(Body):
    """The true category of a job."""

    prdtypecode: int | None = Field(description="`null` removes a wrong label.")


class LabelProblemOut(BaseModel):
    """The reason for rejecting a row of a label file."""

    row: int
    line: int
    column: str | None
    value: str
    reason: str


class LabelReportOut(BaseModel):
    """Number of rows of a label file by outcome, and the first problems."""

    rows: int
    taken: int
    skipped: int = Field(description="Rows without a code.")
    rejected: int
    problems: list[LabelProblemOut] = Field(description="The first thousand rejected rows.")


class ReviewOut(BaseModel):
    """An answer chosen for review by a person."""

    job_id: str
    chosen_at: datetime
    reason: str = Field(description="`random`, or `uncertain`: low confidence.")
    chance: float = Field(description="Probability of being chosen, for either reason.")
    designation: str
    description: str
    image: str | None = Field(description="Path of the image, if there is one.")
    result: Result | None
    release: str
    catalog_id: str | None
    label: int | None
    labelled_at: datetime | None
    labelled_by: str | None


class ReviewPage(BaseModel):
    """A page of reviews, newest job first."""

    items: list[ReviewOut]
    next_cursor: str | None
