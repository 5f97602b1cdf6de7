"""Request and response bodies of drift alerts and drift windows."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body, NextCursor, Reason
from gateway.web.texts import StorableBody

Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class DriftAlertIn(Body):
    """An observation that a person or a program reports."""

    summary: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="Sentence that describes the observation, 1 to 500 characters."
    )
    kind: Kind = Field(
        default="person", description="The part that drifted, such as `text` or `prediction`."
    )
    release: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = Field(
        default=None,
        description="Version of the release that it concerns, at most 32 characters; `null` for no "
        "particular one.",
    )


class AlertmanagerAlert(BaseModel):
    """One alert of Prometheus; its other fields are ignored."""

    status: Literal["firing", "resolved"] = Field(
        description="`firing` raises an alert, `resolved` adds a step to the raised one."
    )
    labels: dict[str, str] = Field(
        description="Labels by name. `alertname` becomes the `kind`, and `release` the `release` "
        "of the alert, both cut to 32 characters."
    )
    annotations: dict[str, str] = Field(
        default={},
        description="Annotations by name. `summary` becomes the `summary` of the alert, cut to 500 "
        "characters.",
    )
    fingerprint: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="Identifier by which Alertmanager repeats an alert, 1 to 64 characters. An "
        "alert that has not ended is not raised again."
    )


class AlertmanagerWebhook(StorableBody):
    """The body that Alertmanager sends to a webhook (version 4)."""

    version: Literal["4"] = Field(description="Version of the webhook's format.")
    alerts: list[AlertmanagerAlert] = Field(
        max_length=1_000, description="Alerts of the notification, at most 1,000."
    )


class DismissRequest(Body):
    """The reason for ending an alert without a training."""

    reason: Reason


class AlertStep(BaseModel):
    """One step in the handling of an alert."""

    at: datetime = Field(description="Time of the step, in UTC.")
    by: str = Field(description="Username, or the component that took the step, such as `monitor`.")
    text: str = Field(description="Sentence that describes the step.")


class DriftAlertOut(BaseModel):
    """An alert and all its steps."""

    id: str = Field(description="ID of the alert, a UUID; IDs sort by time of creation.")
    raised_at: datetime = Field(description="Time at which the alert was raised, in UTC.")
    source: str = Field(
        description="Origin of the alert: `monitor`, `report`, `alertmanager` or `person`."
    )
    raised_by: str = Field(
        description="Username, or the component that raised the alert, such as `drift` or "
        "`calendar`."
    )
    kind: str = Field(
        description="The part that drifted, such as `text`, `image`, `prediction` or `quality`; "
        "`labels` or `calendar` for a training that is due; or the name of an alert of Prometheus."
    )
    release: str | None = Field(
        description="Version of the release that it concerns; `null` for no particular one."
    )
    status: str = Field(
        description="`open`: to be handled, or waits for labels, see `steps`. `asking`: waits for "
        "a person to approve the training. `training`: its training run has not ended. "
        "`ended`: final."
    )
    summary: str = Field(description="Sentence that describes the observation.")
    details: dict[str, Any] = Field(
        description="Figures, categories and example jobs; the names depend on the source."
    )
    training_run_id: str | None = Field(
        description="ID of the training run that it started; `null` without one."
    )
    steps: list[AlertStep] = Field(description="Steps of its handling, oldest first.")
    ended_at: datetime | None = Field(description="Time at which it ended, in UTC; `null` before.")


class DriftAlertList(BaseModel):
    """A page of alerts, newest first."""

    items: list[DriftAlertOut] = Field(
        description="The alerts of the page, or those that the request has raised or resolved."
    )
    next_cursor: NextCursor = None


class DriftWindowOut(BaseModel):
    """A series of consecutive answers, compared with the release's reference."""

    id: str = Field(description="ID of the window, a UUID; IDs sort by time of creation.")
    measured_at: datetime = Field(description="Time of the measurement, in UTC.")
    release: str = Field(description="Version of the release that answered.")
    rows: int = Field(description="Number of answers in the window.")
    begins_at: datetime = Field(description="Time of its first answer, in UTC.")
    ends_at: datetime = Field(description="Time of its last answer, in UTC.")
    moved: list[str] = Field(
        description="Kinds that drifted: their effect exceeds the threshold with significance. "
        "Empty without drift."
    )
    measured: dict[str, Any] = Field(
        description="By kind (`text`, `image`, `prediction`, `quality`): the effect and its "
        "threshold, the p-value, a sentence, the largest changes, categories and example jobs."
    )


class DriftWindowList(BaseModel):
    """A page of drift windows, newest first."""

    items: list[DriftWindowOut] = Field(description="The windows of the page.")
    next_cursor: NextCursor = None
