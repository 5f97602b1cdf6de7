"""Tables of monitoring: measurements, drift alerts and their outcome."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id, now


class AlertStatus(StrEnum):
    """State of a drift alert."""

    OPEN = "open"
    #: A person has to allow the training.
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
    #: The window's ends, by `finished_at`.
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    #: Drifted quantities, such as `text` or `prediction`; empty if nothing did.
    moved: Mapped[list[Any]]
    #: Each statistic's effect size and p-value.
    measured: Mapped[dict[str, Any]]


class DriftAlert(Base):
    """Something moved, or somebody says so; what was done about it is written here too."""

    __tablename__ = "drift_alerts"
    __table_args__ = (
        # What is being dealt with is not raised again.
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
    #: A person's name, or the part of Rayon that raised it.
    raised_by: Mapped[str] = mapped_column(String(64))
    #: Drifted quantities, such as `text` or `prediction`.
    kind: Mapped[str] = mapped_column(String(32))
    release: Mapped[str | None] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16), default=AlertStatus.OPEN.value, index=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    summary: Mapped[str] = mapped_column(Text)
    #: Figures, classes that moved, example jobs.
    details: Mapped[dict[str, Any]]
    training_run_id: Mapped[str | None] = mapped_column(
        ForeignKey("training_runs.id", ondelete="SET NULL"), index=True
    )
    #: Every step that was taken: `at`, `by`, `text`.
    steps: Mapped[list[Any]]
    ended_at: Mapped[datetime | None]


class Performance(Base):
    """Performance of a release, measured or estimated at one time."""

    __tablename__ = "performance"
    __table_args__ = (Index("ix_performance_kind_measured_at", "kind", "measured_at"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    measured_at: Mapped[datetime] = mapped_column(default=now)
    #: `test` (held-out rows; without an interval what the release says of itself), `labelled`
    #: (answers drawn for review), `volunteered` (labelled of people's own accord), `estimated`.
    kind: Mapped[str] = mapped_column(String(16))
    release: Mapped[str] = mapped_column(String(32))
    #: `fusion`, `text` or `image`.
    modality: Mapped[str] = mapped_column(String(16))
    begins_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    rows: Mapped[int]
    #: Weighted F1, and the ends of its 95 % interval.
    f1: Mapped[float]
    low: Mapped[float | None]
    high: Mapped[float | None]
    #: Of an estimate: how far earlier ones were from the labels, as root of the mean square.
    past_error: Mapped[float | None]
    #: By code: `f1`, `low`, `high`, `rows`; and `taken_for`, rows by the code of the wrong answer.
    classes: Mapped[dict[str, Any]]


class Report(Base):
    """A month, on one page."""

    __tablename__ = "reports"

    #: Such as `2026-11`.
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    made_at: Mapped[datetime] = mapped_column(default=now)
    #: `healthy`, `watch` or `retrain`.
    verdict: Mapped[str] = mapped_column(String(16))
    document: Mapped[dict[str, Any]]
    page: Mapped[str] = mapped_column(Text)
