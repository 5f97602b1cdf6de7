"""Measurements, drift alerts and reports."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id, now


class AlertStatus(StrEnum):
    """State of a drift alert."""

    OPEN = "open"
    #: It waits for a person to approve the training.
    ASKING = "asking"
    TRAINING = "training"
    ENDED = "ended"


class DriftWindow(Base):
    """Measurements of a window of consecutive answers."""

    __tablename__ = "drift_windows"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    measured_at: Mapped[datetime] = mapped_column(default=now)
    release: Mapped[str] = mapped_column(String(32))
    rows: Mapped[int]
    #: First and last `finished_at` of the window.
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    #: Drifted quantities, such as `text` or `prediction`; empty without drift.
    moved: Mapped[list[Any]]
    #: Effect size and p-value of each statistic.
    measured: Mapped[dict[str, Any]]


class DriftAlert(Base):
    """Drift that was measured or reported by a person, and the steps taken to resolve it."""

    __tablename__ = "drift_alerts"
    __table_args__ = (
        # While an alert is unfinished, the same alert cannot be raised again.
        Index(
            "uq_drift_alerts_unfinished",
            "fingerprint",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    raised_at: Mapped[datetime] = mapped_column(default=now)
    source: Mapped[str] = mapped_column(String(16))
    #: Name of the person or of the Rayon component that raised it.
    raised_by: Mapped[str] = mapped_column(String(64))
    #: Drifted quantities, such as `text` or `prediction`.
    kind: Mapped[str] = mapped_column(String(32))
    release: Mapped[str | None] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16), default=AlertStatus.OPEN.value, index=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    summary: Mapped[str] = mapped_column(Text)
    #: Figures, drifted classes and example jobs.
    details: Mapped[dict[str, Any]]
    training_run_id: Mapped[str | None] = mapped_column(
        ForeignKey("training_runs.id", ondelete="SET NULL"), index=True
    )
    #: Steps taken, each with `at`, `by` and `text`.
    steps: Mapped[list[Any]]
    ended_at: Mapped[datetime | None]


class Performance(Base):
    """Performance of a release, measured or estimated at one time."""

    __tablename__ = "performance"
    __table_args__ = (Index("ix_performance_kind_measured_at", "kind", "measured_at"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    measured_at: Mapped[datetime] = mapped_column(default=now)
    #: `test` (held-out rows; without an interval the value is the one stored in the release),
    #: `labelled` (answers sampled for review), `volunteered` (answers labelled without a request)
    #: `estimated`, or `not_estimated`: the products are too unlike the held-out ones.
    kind: Mapped[str] = mapped_column(String(16))
    release: Mapped[str] = mapped_column(String(32))
    #: `fusion`, `text` or `image`.
    modality: Mapped[str] = mapped_column(String(16))
    begins_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    rows: Mapped[int]
    #: Weighted F1, and the bounds of its 95 % interval.
    #: `None` if it cannot be estimated.
    f1: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    #: For estimates: root mean square error of earlier estimates against labels.
    past_error: Mapped[float | None]
    #: Values by category code: `f1`, `low`, `high`, `rows`, and `taken_for`, the number of rows by
    #: the code of the wrong answer.
    classes: Mapped[dict[str, Any]]
    #: Difference of the products from the held-out ones: `reason` (`unlike` or `foreign`) if F1
    #: cannot be estimated, `effect foreign effective_rows correction deviation`. `None` for other
    #: kinds, and for releases whose reference has no true categories.
    shift: Mapped[dict[str, Any] | None]


class Report(Base):
    """Monthly report."""

    __tablename__ = "reports"

    #: Year and month, such as `2026-11`.
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    made_at: Mapped[datetime] = mapped_column(default=now)
    #: `healthy`, `watch` or `retrain`.
    verdict: Mapped[str] = mapped_column(String(16))
    document: Mapped[dict[str, Any]]
    page: Mapped[str] = mapped_column(Text)


class ReportRequest(Base):
    """Month whose report was requested, until it is stored; the message may be lost."""

    __tablename__ = "report_requests"

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    #: Time of the latest request.
    requested_at: Mapped[datetime] = mapped_column(default=now)
