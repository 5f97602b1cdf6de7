"""Datasets and their versions."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id, now


class DatasetStatus(StrEnum):
    """State of a dataset version: it is validated once, and a ready version never changes."""

    CHECKING = "checking"
    READY = "ready"
    FAILED = "failed"
    #: Its dataset is being deleted.
    DELETING = "deleting"


class DatasetVersion(Base):
    """One version of a dataset: the request that created it, and the validation result."""

    __tablename__ = "dataset_versions"
    # If two requests create the same version at once, one of them fails and must be repeated.
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    status: Mapped[str] = mapped_column(String(16), default=DatasetStatus.CHECKING.value)
    created_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[str] = mapped_column(String(64))
    finished_at: Mapped[datetime | None]
    #: Bytes of the uploaded files. Empty in rows of earlier versions.
    size: Mapped[int | None] = mapped_column(BigInteger)
    #: Requested changes: `base` (version), `files` (names), `remove` (ids), `corrected`.
    asked: Mapped[dict[str, Any]]
    rows: Mapped[int | None]
    classes: Mapped[int | None]
    images: Mapped[int | None] = mapped_column("pictures")
    #: SHA-256 of the whole content of the version.
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    #: `findings` and counts, in the format of `trainer.datasets.findings`.
    report: Mapped[dict[str, Any] | None]
    message: Mapped[str | None] = mapped_column(Text)
    leased_until: Mapped[datetime | None]
    #: Number of validation attempts.
    attempts: Mapped[int] = mapped_column(default=0)

    @property
    def reference(self) -> str:
        """Name used by training runs."""
        return f"{self.name}@{self.version}"
