"""Response bodies of jobs and their answers."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ModelName = Literal["fusion", "text", "image"]


class CategoryProbability(BaseModel):
    """Category with its probability."""

    prdtypecode: int
    category: str
    probability: float


class ModalityAnswer(BaseModel):
    """Answer of a single modality."""

    prdtypecode: int
    confidence: float


class Result(BaseModel):
    """Answer to a job."""

    prdtypecode: int
    category: str
    confidence: float
    top: list[CategoryProbability]
    modalities: dict[str, ModalityAnswer]
    degraded: str | None = Field(
        description="Failure code of a modality that is missing from the answer."
    )


class JobError(BaseModel):
    """Failure of a job."""

    code: str
    message: str


class JobOut(BaseModel):
    """Job with its answer or failure once it is final."""

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
                    },
                    "error": None,
                    "label": None,
                }
            ]
        }
    )

    id: str
    status: Literal["queued", "done", "failed", "cancelled"]
    model: ModelName
    release: str
    created_at: datetime
    finished_at: datetime | None
    result: Result | None
    error: JobError | None
    label: int | None


class JobPage(BaseModel):
    """Page of jobs, newest first."""

    items: list[JobOut]
    next_cursor: str | None
