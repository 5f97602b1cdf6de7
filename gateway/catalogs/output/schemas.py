"""Response bodies of the answers of a catalog."""

from typing import Literal

from pydantic import BaseModel, Field

from gateway.jobs.schemas import IS_FOREIGN, NOVELTY, JobError
from gateway.web.schemas import NextCursor


class AnswerOut(BaseModel):
    """A row of a catalog that has a job, and its answer."""

    row: int = Field(description="Number of the row, from 1, without the header.")
    job_id: str = Field(description="ID of the row's job, a UUID.")
    title: str = Field(
        description="Title of the product (`designation`), its first 300 characters."
    )
    has_image: bool = Field(
        description="True if the product was sent with an image; it may have been deleted since."
    )
    status: Literal["queued", "done", "failed", "cancelled"] = Field(
        description="Status of the job: only `done` has an answer."
    )
    prdtypecode: int | None = Field(
        description="Code of the most probable category; `null` without an answer."
    )
    category: str | None = Field(
        description="Name of the category, as the shop writes it; `null` without an answer."
    )
    category_path: list[str] = Field(
        description="Parts of the name from the root of the shop's tree; empty without a tree."
    )
    confidence: float | None = Field(
        description="Probability of the category, 0 to 1; `null` without an answer."
    )
    degraded: str | None = Field(
        description="Code of the failure of a modality that is missing from the answer; `null` if "
        "the answer is complete."
    )
    degraded_message: str | None = Field(
        description="Sentence that explains `degraded`; `null` without it."
    )
    error: JobError | None = Field(
        description="The reason of the failure; `null` unless the status is `failed`."
    )
    novelty: float | None = Field(description=NOVELTY)
    is_foreign: bool | None = Field(description=IS_FOREIGN)
    label: int | None = Field(description="True category; `null` until it is set.")
    is_accepted: bool | None = Field(
        description="True if the answer is accepted for `target`; `null` without a target or an "
        "answer."
    )


class AnswerPage(BaseModel):
    """A page of the answers of a catalog."""

    items: list[AnswerOut] = Field(description="The rows of the page.")
    next_cursor: NextCursor


class CategoryCountOut(BaseModel):
    """Number of the answers of a category."""

    prdtypecode: int = Field(description="Code of the category.")
    category: str = Field(description="Name of the category, as the shop writes it.")
    category_path: list[str] = Field(
        description="Parts of the name from the root of the shop's tree; empty without a tree."
    )
    rows: int = Field(description="Answers with this category.")
    labelled: int = Field(description="Number of them that people have labelled.")


class CategoryCountList(BaseModel):
    """The categories of a catalog's answers."""

    items: list[CategoryCountOut] = Field(description="The categories, most answers first.")
