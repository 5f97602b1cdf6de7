"""Datasets and their versions."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id, now


class DatasetStatus(StrEnum):
    """A version of a dataset is checked once; what is ready never changes again."""

    CHECKING = "checking"
    READY = "ready"
    FAILED = "failed"
    #: Its dataset is being removed.
    DELETING = "deleting"


class DatasetVersion(Base):
    """One version of a dataset: what was sent, and what became of it."""

    __tablename__ = "dataset_versions"
    # Of two that add rows at once, one is told to ask again.
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    status: Mapped[str] = mapped_column(String(16), default=DatasetStatus.CHECKING.value)
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str] = mapped_column(String(64))
    finished_at: Mapped[datetime | None]
    #: What was asked for: `base` (version), `files` (names), `remove` (ids), `corrected`.
    asked: Mapped[dict[str, Any]]
    rows: Mapped[int | None]
    classes: Mapped[int | None]
    images: Mapped[int | None] = mapped_column("pictures")
    #: SHA-256 over everything that the version holds.
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    #: `findings` and counts, as `trainer.datasets.findings` has them.
    report: Mapped[dict[str, Any] | None]
    message: Mapped[str | None] = mapped_column(Text)
    leased_until: Mapped[datetime | None]
    #: Number of validation attempts.
    attempts: Mapped[int] = mapped_column(default=0)

    @property
    def reference(self) -> str:
        """Name used by training runs."""
        return f"{self.name}@{self.version}"
