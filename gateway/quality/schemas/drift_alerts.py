"""Request and response bodies of drift alerts and drift windows."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body
from gateway.web.texts import StorableBody

Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class DriftAlertIn(Body):
    """An observation that a person or a program reports."""

    summary: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    kind: Kind = Field(
        default="person", description="The part that drifted, such as `text` or `prediction`."
    )
    release: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = None


class AlertmanagerAlert(BaseModel):
    """One alert of Prometheus; its other fields are ignored."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default={})
    fingerprint: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class AlertmanagerWebhook(StorableBody):
    """The body that Alertmanager sends to a webhook (version 4)."""

    version: Literal["4"]
    alerts: list[AlertmanagerAlert] = Field(max_length=1_000)


class DismissRequest(Body):
    """The reason for ending an alert without a training."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class AlertStep(BaseModel):
    """One step in the handling of an alert."""

    at: datetime
    by: str
    text: str


class DriftAlertOut(BaseModel):
    """An alert and all its steps."""

    id: str
    raised_at: datetime
    source: str
    raised_by: str
    kind: str
    release: str | None
    status: str
    summary: str
    details: dict[str, Any]
    training_run_id: str | None
    steps: list[AlertStep]
    ended_at: datetime | None


class DriftAlertList(BaseModel):
    """A page of alerts, newest first."""

    items: list[DriftAlertOut]
    next_cursor: str | None = None


class DriftWindowOut(BaseModel):
    """A series of consecutive answers, compared with the release's reference.

    `measured` holds, by kind (`text`, `image`, `prediction`, `quality`), the effect and its
    threshold, the p-value, a sentence, the largest changes, categories and example jobs; `moved`
    lists the kinds whose effect exceeds the threshold with significance.
    """

    id: str
    measured_at: datetime
    release: str
    rows: int
    begins_at: datetime
    ends_at: datetime
    moved: list[str]
    measured: dict[str, Any]


class DriftWindowList(BaseModel):
    """A page of drift windows, newest first."""

    items: list[DriftWindowOut]
    next_cursor: str | None = None
