"""Drift: alerts and windows."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints

from gateway.web.schemas import Body

Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class DriftAlertIn(Body):
    """Something that a person or a program saw."""

    summary: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    kind: Kind = Field(default="person", description="What moved, such as `text` or `prediction`.")
    release: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = None


class AlertmanagerAlert(BaseModel):
    """One alert of Prometheus; other fields are of no interest here."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default={})
    fingerprint: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class AlertmanagerWebhook(BaseModel):
    """What Alertmanager sends to a webhook (version 4)."""

    version: Literal["4"]
    alerts: list[AlertmanagerAlert] = Field(max_length=1_000)


class DismissRequest(Body):
    """Why nothing is done about an alert."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class AlertStep(BaseModel):
    """What was done about an alert."""

    at: datetime
    by: str
    text: str


class DriftAlertOut(BaseModel):
    """An alert, and every step that was taken."""

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
    """Alerts, newest first."""

    items: list[DriftAlertOut]
    next_cursor: str | None = None


class DriftWindowOut(BaseModel):
    """Some answers that came one after another, compared with the release's reference.

    `measured` has, by kind (`text`, `image`, `prediction`, `quality`), effect and threshold,
    p-value, a sentence, what moved most, categories and example jobs; `moved` names the kinds that
    are beyond both.
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
    """Windows, newest first."""

    items: list[DriftWindowOut]
    next_cursor: str | None = None
