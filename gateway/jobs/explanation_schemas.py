"""Response bodies of explanations."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.jobs.schemas import JobError

#: State of an explanation, or of one of its modalities.
Status = Literal["queued", "done", "failed"]


class WordsEffect(BaseModel):
    """Consecutive words and their effect."""

    text: str = Field(description="Words, as they are written.")
    effect: float = Field(
        description="Fall of the log-odds of the category without these words, wherever they are "
        "in the product. Positive: they speak for the category. Negative: against it."
    )


class PartExplained(BaseModel):
    """Fields that both modalities have in common."""

    status: Status = Field(description="`queued`, `done`, or `failed` with an `error`.")
    probability: float | None = Field(
        description="Probability of the category by this modality alone, 0 to 1; `null` until it "
        "is `done`."
    )
    error: JobError | None = Field(description="Reason of the failure; `null` without one.")


class TextExplained(PartExplained):
    """Parts of the text that spoke for the category."""

    designation: list[WordsEffect] = Field(
        default=[], description="All words of the title, in order."
    )
    description: list[WordsEffect] = Field(
        default=[], description="All words of the description, in order."
    )


class ImageExplained(PartExplained):
    """Which parts of the image spoke for the category."""

    grid: list[list[float]] = Field(
        default=[],
        description="Fall of the log-odds of the category without each cell of the image, by row "
        "and column: 2 x 2 to 6 x 6 cells of equal size.",
    )


class ExplanationOut(BaseModel):
    """Explanation of the answer to a job, found by leaving out parts of the product."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_id": "0193f0c2-7a3e-7c1a-9f62-2b8d6f0a4e11",
                    "status": "done",
                    "prdtypecode": 2583,
                    "category": "Piscine et accessoires",
                    "release": "1",
                    "requested_at": "2026-01-05T10:00:00Z",
                    "text": {
                        "status": "done",
                        "probability": 0.95,
                        "error": None,
                        "designation": [
                            {"text": "Piscine", "effect": 3.12},
                            {"text": "ronde", "effect": 0.4},
                        ],
                        "description": [],
                    },
                    "image": None,
                }
            ]
        }
    )

    job_id: str = Field(description="ID of the job, a UUID.")
    status: Status = Field(
        description="`queued`: the workers have not finished. `done`: at least one modality is "
        "explained. `failed`: none could be."
    )
    prdtypecode: int = Field(description="Code of the category of the answer.")
    category: str = Field(description="Name of the category of the answer.")
    release: str = Field(description="Version of the release that answered and explains.")
    requested_at: datetime = Field(description="Time of the first request, in UTC.")
    text: TextExplained | None = Field(
        description="Explanation by the text; `null` if the answer does not use it."
    )
    image: ImageExplained | None = Field(
        description="Explanation by the image; `null` if the answer does not use it."
    )
