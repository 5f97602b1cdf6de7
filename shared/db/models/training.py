"""Training runs and promotions."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, String, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id, now


class TrainingStatus(StrEnum):
    """State of a training run."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrainingRun(Base):
    """Training request, its progress and its result."""

    __tablename__ = "training_runs"
    __table_args__ = (
        # Only one run at a time: of two trainers that claim a run at once, only one succeeds.
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
    #: `name@version` of a stored dataset; without one the trainer uses its own data folder.
    dataset: Mapped[str | None] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16), default=TrainingStatus.QUEUED.value)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    #: Trainer that holds the lease of the run; the lease of a trainer that died expires.
    leased_by: Mapped[str | None] = mapped_column(String(128))
    leased_until: Mapped[datetime | None]
    #: Number of training attempts.
    attempts: Mapped[int] = mapped_column(default=0)
    #: Last reported step: `step`, `done`, `of`, `at`.
    progress: Mapped[dict[str, Any] | None]
    log_tail: Mapped[str | None] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(String(32))
    #: Comparison of the release with the champion: figures and `sentence`.
    verdict: Mapped[dict[str, Any] | None]
    message: Mapped[str | None] = mapped_column(Text)
    #: Rows that the release was trained on, by the user who labelled them: `user`, `rows`, `share`.
    labels: Mapped[list[Any] | None]

    @property
    def step(self) -> str | None:
        """Current or last step of the training, or `None` before the first one."""
        return self.progress.get("step") if self.progress else None


class WatchState(StrEnum):
    """State of the watch over a promoted release."""

    #: Its answers are compared with those of the release before.
    WATCHING = "watching"
    #: Found worse; the rollback is decided, and not carried out yet.
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    #: Found worse, and left to a person.
    ALERTED = "alerted"
    #: Not found worse until the end of the watch.
    PASSED = "passed"
    #: Too few answers until the end of the watch.
    UNDECIDED = "undecided"
    #: Another promotion came first.
    REPLACED = "replaced"


class Promotion(Base):
    """Promotion of a release to champion: time, person, reason and figures.

    A pending one was decided, but the registry has not confirmed that its alias has moved.
    """

    __tablename__ = "promotions"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    promoted_at: Mapped[datetime] = mapped_column(default=now)
    version: Mapped[str] = mapped_column(String(32))
    previous_version: Mapped[str | None] = mapped_column(String(32))
    promoted_by: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    figures: Mapped[dict[str, Any]]
    is_pending: Mapped[bool] = mapped_column(default=False, server_default=false())
    #: Watch over the release after this promotion: `state`, `sentence`, figures. `None` for a
    #: release that is not watched, because it served before or none did before it.
    watch: Mapped[dict[str, Any] | None]
