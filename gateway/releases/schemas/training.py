"""Request and response bodies of training runs."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body


class TrainingRequest(Body):
    """A request for a training run."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    dataset: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        default=None,
        description="Stored dataset as `name` or `name@version`. By default the trainer's own "
        "data folder.",
    )


class LabelShareOut(BaseModel):
    """Rows with labels of one user."""

    user: str
    rows: int
    share: float = Field(description="Share of all rows that the release learnt from.")


class TrainingRunOut(BaseModel):
    """A training run and its progress."""

    id: str
    status: Literal["queued", "running", "finished", "failed", "cancelled"]
    requested_at: datetime
    requested_by: str
    reason: str
    dataset: str | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    attempts: int = Field(description="Number of times that a trainer has started the run.")
    step: str | None = Field(description="Name of the current or last step.")
    progress: dict[str, Any] | None = Field(
        description="Progress within a step: `step`, units `done` `of` total, and time `at`."
    )
    version: str | None = Field(description="Version of the resulting release.")
    verdict: dict[str, Any] | None = Field(
        description="Outcome of the comparison with the champion."
    )
    labels: list[LabelShareOut] | None = Field(
        description="Rows that the release learnt from, by the user who labelled them, most first. "
        "Rows of uploaded files are not listed."
    )
    message: str | None
    log_tail: str | None = Field(description="Last lines of the log of the run.")


class TrainingRunList(BaseModel):
    """Training runs, newest first."""

    items: list[TrainingRunOut]
