"""Request and response bodies of training runs."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, computed_field

from gateway.web.schemas import Body, Reason
from shared.lifecycle.training_stages import stage_name


class TrainingRequest(Body):
    """A request for a training run."""

    reason: Reason
    dataset: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        default=None,
        description="Stored dataset as `name` or `name@version`. By default the trainer's own "
        "data folder (`RAYON_TRAINER_DATA`); required if it has none.",
    )


class LabelShareOut(BaseModel):
    """Rows with labels of one user."""

    user: str = Field(description="Username of the labeller.")
    rows: int = Field(description="Number of rows with labels of the user.")
    share: float = Field(description="Share of all rows that the release learnt from.")


class TrainingRunOut(BaseModel):
    """A training run and its progress."""

    id: str = Field(description="ID of the training run, a UUID; IDs sort by time of the request.")
    status: Literal["queued", "running", "finished", "failed", "cancelled"] = Field(
        description="`queued`: waits for the trainer. `running`: is being executed. `finished`: "
        "has a release. `failed`: see `message`. `cancelled`: ended on request."
    )
    requested_at: datetime = Field(description="Time of the request, in UTC.")
    requested_by: str = Field(description="Username, or `monitor` for a response to drift.")
    reason: str = Field(description="Reason of the request.")
    dataset: str | None = Field(
        description="Dataset as `name@version`; `null` for the trainer's own data folder."
    )
    started_at: datetime | None = Field(
        description="Time at which the trainer began, in UTC; `null` before."
    )
    finished_at: datetime | None = Field(
        description="Time at which the run ended, in UTC; `null` before."
    )
    cancel_requested_at: datetime | None = Field(
        description="Time at which its end was requested while it ran, in UTC; `null` without a "
        "request."
    )
    attempts: int = Field(description="Number of times that a trainer has started the run.")
    step: str | None = Field(
        description="Name of the current or last step; `null` before the first one."
    )
    progress: dict[str, Any] | None = Field(
        description="Progress of the run: `step`, steps `done` `of` about so many, and time `at`; "
        "and within the step, where it is known, `part` of `parts` in `unit` (`images` or "
        "`epochs`) and `seconds_left`. `null` before the first step."
    )
    version: str | None = Field(description="Version of the resulting release; `null` without one.")
    verdict: dict[str, Any] | None = Field(
        description="Outcome of the comparison with the champion; `null` without one."
    )
    labels: list[LabelShareOut] | None = Field(
        description="Rows that the release learnt from, by the user who labelled them, most first. "
        "Rows of uploaded files are not listed. `null` without a release."
    )
    message: str | None = Field(
        description="Sentence about the outcome or the last failed attempt; `null` without one."
    )
    log_tail: str | None = Field(
        description="Last lines of the log of the run, at most 30; `null` before."
    )

    @computed_field(
        description="Name of the current or last step for people, such as `Train image model: "
        "Xception`; `null` before the first one."
    )
    def stage(self) -> str | None:
        """Return the name of the step."""
        return stage_name(self.step) if self.step else None


class TrainingRunList(BaseModel):
    """Training runs, newest first."""

    items: list[TrainingRunOut] = Field(description="The training runs, at most `limit`.")
