"""Catalogs; a row's job has an id that follows from the row."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id, now


class CatalogStatus(StrEnum):
    """A catalog is checked, then fed to the workers, until it is final."""

    VALIDATING = "validating"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: Hexadecimal digits of a row's number in a catalog's job id.
ROW_DIGITS = 8


def new_catalog_id() -> str:
    """Make a UUIDv7 whose last 32 bits are left to the catalog's rows."""
    return new_id()[:-ROW_DIGITS] + "0" * ROW_DIGITS


def row_job_id(catalog_id: str, row: int) -> str:
    """Return the job id of a catalog row.

    It follows from the row: what is fed twice is one job, and the rows are read in their order.
    """
    return f"{catalog_id[:-ROW_DIGITS]}{row:0{ROW_DIGITS}x}"


def row_of_job(job_id: str) -> int:
    """Return the row number that a catalog job id contains."""
    return int(job_id[-ROW_DIGITS:], 16)


class Catalog(Base):
    """An uploaded file of products; each accepted row is a job."""

    __tablename__ = "catalogs"
    __table_args__ = (
        Index("ix_catalogs_user_id_id", "user_id", "id"),
        UniqueConstraint("user_id", "idempotency_key", name="uq_catalogs_idempotency_key"),
    )

    #: Ends in eight zeros; a job's id has its row's number there.
    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_catalog_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    trace_id: Mapped[str] = mapped_column(String(32))
    #: Of the uploaded file, as its sender calls it.
    name: Mapped[str] = mapped_column(String(255))
    model: Mapped[str] = mapped_column(String(16))
    release: Mapped[str] = mapped_column(String(32))
    dry_run: Mapped[bool]
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    #: SHA-256 over the files and what was asked for.
    fingerprint: Mapped[str] = mapped_column(String(64))
    #: Bytes of what was sent, for the limit of a user.
    size: Mapped[int] = mapped_column(BigInteger)
    has_images: Mapped[bool]

    status: Mapped[str] = mapped_column(
        String(16), default=CatalogStatus.VALIDATING.value, index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    #: The feeder that works on it; one that died lets the lease run out.
    leased_by: Mapped[str | None] = mapped_column(String(128))
    leased_until: Mapped[datetime | None]
    #: Rows of the file, and how many of them are no jobs.
    rows: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[int] = mapped_column(default=0)
    #: How many jobs exist, and the number of the last row looked at; rows are numbered from 1.
    fed: Mapped[int] = mapped_column(default=0)
    fed_until: Mapped[int] = mapped_column(default=0)
    #: While failed rows run again: the number of the last one that was asked for.
    retried_until: Mapped[int | None]
    #: Measured over the last seconds, while it runs; over all of it, when it has ended.
    rows_per_second: Mapped[float | None]
    #: What the check found: `columns`, `unmatched_images`, `unused_images`, `warnings` and so on.
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
