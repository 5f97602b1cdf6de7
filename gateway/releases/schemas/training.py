"""Bodies of training runs."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body


class TrainingRequest(Body):
    """Request for a training run."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    dataset: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        default=None,
        description="`name` or `name@version` of a stored dataset; default: the trainer's folder.",
    )


class TrainingRunOut(BaseModel):
    """Training run with its progress."""

    id: str
    status: Literal["queued", "running", "finished", "failed", "cancelled"]
    requested_at: datetime
    requested_by: str
    reason: str
    dataset: str | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    attempts: int = Field(description="Number of times a trainer has started it.")
    step: str | None = Field(description="Current or last step.")
    progress: dict[str, Any] | None = Field(
        description="Object with `step`, `done`, `of` and `at`."
    )
    version: str | None = Field(description="Version of the resulting release.")
    verdict: dict[str, Any] | None = Field(description="Comparison with the champion.")
    message: str | None
    log_tail: str | None = Field(description="Last lines of the training log.")


class TrainingRunList(BaseModel):
    """Training runs, newest first."""

    items: list[TrainingRunOut]
