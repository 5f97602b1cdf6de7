"""Training runs."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body


class TrainingRequest(Body):
    """Why a new release is wanted, and from what."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    dataset: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        default=None,
        description="`name` or `name@version` of a stored dataset; else the trainer's own folder.",
    )


class TrainingRunOut(BaseModel):
    """A request for training and how it goes."""

    id: str
    status: Literal["queued", "running", "finished", "failed", "cancelled"]
    requested_at: datetime
    requested_by: str
    reason: str
    dataset: str | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    attempts: int = Field(description="How often a trainer began with it.")
    step: str | None = Field(description="What is being done, or was last.")
    progress: dict[str, Any] | None = Field(description="`step`, `done`, `of` and `at`.")
    version: str | None = Field(description="The release that came of it.")
    verdict: dict[str, Any] | None = Field(description="How it compares with the champion.")
    message: str | None
    log_tail: str | None = Field(description="The last lines that the training said.")


class TrainingRunList(BaseModel):
    """Training runs, newest first."""

    items: list[TrainingRunOut]
