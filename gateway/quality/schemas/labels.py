"""Request and response bodies of labels and reviews."""

from datetime import datetime

from pydantic import BaseModel, Field

from gateway.jobs.schemas import Result
from gateway.web.schemas import Body, NextCursor
from shared.errors import InvalidInput


class LabelIn(Body):
    """The true category of a job."""

    prdtypecode: int | None = Field(
        default=None, description="Code of the category; `null` removes a wrong label."
    )
    category: str | None = Field(
        default=None,
        max_length=1_000,
        description="Name of the category instead of its code, or the last part of its path if no "
        "other category has it. Case, accents and spaces do not matter.",
    )
    new_category: bool = Field(
        default=False,
        description="True if `prdtypecode` may be the code of a category that the release does not "
        "have yet. The next training on labels learns it; a file `categories` of a dataset names "
        "it. Only operators and admins add categories.",
    )

    @property
    def is_removed(self) -> bool:
        """True if the label is to be removed."""
        return self.prdtypecode is None and self.category is None

    def require_stated(self) -> None:
        """Check that there is a code, a name or a `null` as code. Raises `InvalidInput`."""
        if self.is_removed and "prdtypecode" not in self.model_fields_set:
            raise InvalidInput(
                "Expected `prdtypecode` or `category`. Received: neither", field=("prdtypecode",)
            )


class LabelProblemOut(BaseModel):
    """The reason for rejecting a row of a label file."""

    row: int = Field(description="Number of the row, from 1, without the header.")
    line: int = Field(description="Line of the file on which the row begins, from 1.")
    column: str | None = Field(
        description="Column of the invalid value; `null` for the row as a whole."
    )
    value: str = Field(description="The invalid value, cut if it is long.")
    reason: str = Field(description="Sentence that states why the row is rejected.")


class NewCategoryOut(BaseModel):
    """A code of a label file that the release does not have."""

    prdtypecode: int = Field(description="The code.")
    rows: int = Field(description="Rows of the file with the code.")


class LabelReportOut(BaseModel):
    """Number of rows of a label file by outcome, and the first problems."""

    rows: int = Field(description="Rows of the file.")
    taken: int = Field(description="Rows whose label was stored, or was stored before.")
    skipped: int = Field(description="Rows without a code.")
    rejected: int = Field(description="Rows with a problem, whose label was not stored.")
    problems: list[LabelProblemOut] = Field(description="The first thousand rejected rows.")
    new_categories: list[NewCategoryOut] = Field(
        default=[],
        description="Codes that the release does not have, rarest first, because a typing error is "
        "rare; at most a thousand. Empty without `new_categories` in the request.",
    )


class ReviewOut(BaseModel):
    """An answer chosen for review by a person."""

    job_id: str = Field(
        description="ID of the reviewed job, a UUID, which also identifies the review."
    )
    chosen_at: datetime = Field(description="Time of the selection, in UTC.")
    reason: str = Field(
        description="`random`, or `uncertain`: low confidence or, after a change, unlike earlier "
        "products."
    )
    chance: float = Field(description="Probability of being chosen, for either reason.")
    designation: str = Field(description="Title of the product, as sent.")
    description: str = Field(description="Description of the product, as sent.")
    image: str | None = Field(description="Path of the image; `null` without one.")
    result: Result | None = Field(description="The answer; `null` without one.")
    release: str = Field(description="Version of the release that answered.")
    catalog_id: str | None = Field(description="ID of the job's catalog; `null` for a single job.")
    label: int | None = Field(description="Code of the true category; `null` until it is set.")
    labelled_at: datetime | None = Field(
        description="Time at which the label was set, in UTC; `null` without one."
    )
    labelled_by: str | None = Field(description="Username of the labeller; `null` without a label.")


class ReviewPage(BaseModel):
    """A page of reviews, newest job first."""

    items: list[ReviewOut] = Field(description="The reviews of the page.")
    next_cursor: NextCursor
