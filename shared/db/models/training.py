"""Training runs, and the ledger of what serves."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id, now


class TrainingStatus(StrEnum):
    """A training run is queued or running until it has ended."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrainingRun(Base):
    """A request for training, how far it is and how it ended."""

    __tablename__ = "training_runs"
    __table_args__ = (
        # One run at a time, whoever asks: two trainers that claim at once cannot both succeed.
        Index(
            "uq_training_runs_running",
            "status",
            unique=True,
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    requested_at: Mapped[datetime] = mapped_column(default=now)
    requested_by: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    #: `name@version` of a stored dataset; without one the trainer's own folder is trained on.
    dataset: Mapped[str | None] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16), default=TrainingStatus.QUEUED.value)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    #: The trainer that holds the run; one that died lets the lease run out.
    leased_by: Mapped[str | None] = mapped_column(String(128))
    leased_until: Mapped[datetime | None]
    #: Number of training attempts.
    attempts: Mapped[int] = mapped_column(default=0)
    #: The last step the training told of: `step`, `done`, `of`, `at`.
    progress: Mapped[dict[str, Any] | None]
    log_tail: Mapped[str | None] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(String(32))
    #: How the release compares with the champion: figures and `sentence`.
    verdict: Mapped[dict[str, Any] | None]
    message: Mapped[str | None] = mapped_column(Text)

    @property
    def step(self) -> str | None:
        """What is being done, or was last."""
        return self.progress.get("step") if self.progress else None


class Promotion(Base):
    """The ledger: which release served from when on, and who decided why."""

    __tablename__ = "promotions"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    promoted_at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[str] = mapped_column(String(32))
    previous_version: Mapped[str | None] = mapped_column(String(32))
    promoted_by: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    figures: Mapped[dict[str, Any]]
