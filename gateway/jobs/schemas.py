"""Response bodies of jobs and their answers."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.web.schemas import NextCursor

ModelName = Literal["fusion", "text", "image"]
NOVELTY = (
    "How foreign the answer looks, 0 to 1: the share of held-out products of the release's "
    "categories whose answers look less foreign; `null` without an answer, and for releases that "
    "cannot tell."
)
IS_FOREIGN = (
    "True if the product may belong to none of the categories (`novelty` of 0.95 or more), as one "
    "in twenty products of the categories does; `null` where `novelty` is."
)


class CategoryProbability(BaseModel):
    """A category and its probability."""

    prdtypecode: int = Field(description="Code of the category.")
    category: str = Field(description="Name of the category, as the shop writes it.")
    category_path: list[str] = Field(
        default=[],
        description="Parts of the name from the root of the shop's tree; empty without a tree.",
    )
    probability: float = Field(description="Probability, 0 to 1.")


class ModalityAnswer(BaseModel):
    """The most probable category by a single modality."""

    prdtypecode: int = Field(description="Code of the category.")
    confidence: float = Field(description="Probability of the category, 0 to 1.")


class Result(BaseModel):
    """The answer to a job."""

    prdtypecode: int = Field(description="Code of the most probable category.")
    category: str = Field(description="Name of the category, as the shop writes it.")
    category_path: list[str] = Field(
        default=[],
        description="Parts of the name from the root of the shop's tree; empty without a tree.",
    )
    confidence: float = Field(description="Probability of the category, 0 to 1.")
    top: list[CategoryProbability] = Field(
        description="The five most probable categories, most probable first."
    )
    modalities: dict[str, ModalityAnswer] = Field(
        description="Answers of the single modalities, by `text` and `image`."
    )
    degraded: str | None = Field(
        description="Code of the failure of a modality that is missing from the answer; `null` if "
        "the answer is complete."
    )
    degraded_message: str | None = Field(
        default=None, description="Sentence that explains `degraded`; `null` without it."
    )
    novelty: float | None = Field(default=None, description=NOVELTY)
    is_foreign: bool | None = Field(default=None, description=IS_FOREIGN)


class JobError(BaseModel):
    """The reason for the failure of a job or catalog."""

    code: str = Field(description="Stable code of the reason, such as `image_unreadable`.")
    message: str = Field(description="Sentence that explains the reason.")


class JobOut(BaseModel):
    """A job and, once it is final, its answer or error."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0193f0c2-7a3e-7c1a-9f62-2b8d6f0a4e11",
                    "status": "done",
                    "model": "fusion",
                    "release": "1",
                    "created_at": "2026-01-05T10:00:00Z",
                    "finished_at": "2026-01-05T10:00:00.08Z",
                    "result": {
                        "prdtypecode": 2583,
                        "category": "Piscine et accessoires",
                        "confidence": 0.97,
                        "top": [
                            {
                                "prdtypecode": 2583,
                                "category": "Piscine et accessoires",
                                "probability": 0.97,
                            }
                        ],
                        "modalities": {"text": {"prdtypecode": 2583, "confidence": 0.95}},
                        "degraded": None,
                        "novelty": 0.12,
                        "is_foreign": False,
                    },
                    "error": None,
                    "label": None,
                    "title": "Piscine gonflable ronde",
                    "has_image": False,
                }
            ]
        }
    )

    id: str = Field(description="ID of the job, a UUID; IDs sort by time of creation.")
    status: Literal["queued", "done", "failed", "cancelled"] = Field(
        description="`queued`: not answered yet. `done`: has a `result`. `failed`: has an `error`. "
        "`cancelled`: ended without an answer. All but `queued` are final."
    )
    model: ModelName = Field(
        description="Model that the job was sent to: `text`, `image`, or `fusion` of both."
    )
    release: str = Field(description="Version of the release that answers.")
    created_at: datetime = Field(description="Time of the submission, in UTC.")
    finished_at: datetime | None = Field(
        description="Time at which the job became final, in UTC; `null` before."
    )
    result: Result | None = Field(description="The answer; `null` unless the status is `done`.")
    error: JobError | None = Field(
        description="The reason of the failure; `null` unless the status is `failed`."
    )
    label: int | None = Field(description="True category; `null` until it is set.")
    title: str = Field(
        default="",
        description="Title of the product (`designation`), its first 300 characters; empty once "
        "the product is deleted.",
    )
    has_image: bool = Field(
        default=False, description="True if the product has an image that is still stored."
    )


class JobPage(BaseModel):
    """A page of jobs, newest first."""

    items: list[JobOut] = Field(description="The jobs of the page.")
    next_cursor: NextCursor
