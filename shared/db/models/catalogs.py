"""Catalogs, and the job ids that are derived from their rows."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id, now


class CatalogStatus(StrEnum):
    """State of a catalog: it is validated, then run until it is final."""

    VALIDATING = "validating"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: Number of hexadecimal digits of the row number in a catalog job id.
ROW_DIGITS = 8
#: Largest row number that a job id can contain.
MOST_ROWS = 16**ROW_DIGITS - 1


def new_catalog_id() -> str:
    """Return a new UUIDv7 whose last 32 bits are reserved for row numbers."""
    return new_id()[:-ROW_DIGITS] + "0" * ROW_DIGITS


def row_job_id(catalog_id: str, row: int) -> str:
    """Return the job id of a catalog row.

    The id is derived from the row number, so feeding a row twice creates one job, and ordering by
    id yields the order of the rows.
    """
    return f"{catalog_id[:-ROW_DIGITS]}{row:0{ROW_DIGITS}x}"


def row_of_job(job_id: str) -> int:
    """Return the row number that a catalog job id contains."""
    return int(job_id[-ROW_DIGITS:], 16)


class Catalog(Base):
    """Uploaded file of products; each accepted row is a job."""

    __tablename__ = "catalogs"
    __table_args__ = (
        Index("ix_catalogs_user_id_id", "user_id", "id"),
        Index("ix_catalogs_user_id_header", "user_id", "header"),
        UniqueConstraint("user_id", "idempotency_key", name="uq_catalogs_idempotency_key"),
    )

    #: Ends in eight zeros, which a job id replaces with the row number.
    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_catalog_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    trace_id: Mapped[str] = mapped_column(String(32))
    #: Name of the uploaded file, as sent by the client.
    name: Mapped[str] = mapped_column(String(255))
    model: Mapped[str] = mapped_column(String(16))
    release: Mapped[str] = mapped_column(String(32))
    dry_run: Mapped[bool]
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    #: SHA-256 of the uploaded files and the request parameters.
    fingerprint: Mapped[str] = mapped_column(String(64))
    #: Size of the upload in bytes, which counts towards the user's limits; 0 once the files are
    #: deleted.
    size: Mapped[int] = mapped_column(BigInteger)
    #: Bytes of the image archive, which is removed once the catalog is final.
    archive_bytes: Mapped[int | None] = mapped_column(BigInteger)
    has_images: Mapped[bool]
    #: Time until which the files of a draft are kept; `None` for other catalogs.
    kept_until: Mapped[datetime | None]
    #: Digest of the header of a table whose columns the user stated.
    header: Mapped[str | None] = mapped_column(String(64))

    status: Mapped[str] = mapped_column(
        String(16), default=CatalogStatus.VALIDATING.value, index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    #: Feeder that processes the catalog; the lease of a feeder that died expires.
    leased_by: Mapped[str | None] = mapped_column(String(128))
    leased_until: Mapped[datetime | None]
    #: Number of rows in the file, and number of rejected ones, which get no job.
    rows: Mapped[int] = mapped_column(default=0)
    rejected: Mapped[int] = mapped_column(default=0)
    #: Number of jobs, and number of the last row read; rows are numbered from 1.
    fed: Mapped[int] = mapped_column(default=0)
    fed_until: Mapped[int] = mapped_column(default=0)
    #: While failed rows are retried: number of the last row that the retry includes.
    retried_until: Mapped[int | None]
    #: While repaired rows are run: number of the last row that has its job; 0 at first.
    repaired_until: Mapped[int | None]
    #: Rate over the last seconds while the catalog runs, and over the whole run once it has ended.
    rows_per_second: Mapped[float | None]
    #: Validation result: `columns`, `unmatched_images`, `unused_images`, `warnings` and others.
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)


class RepairStatus(StrEnum):
    """State of a repair: saved, waiting for the feeder, or part of the results."""

    DRAFT = "draft"
    QUEUED = "queued"
    JOINED = "joined"


class CatalogRowRepair(Base):
    """Changed cells and image of a catalog row; the uploaded file itself stays as it is."""

    __tablename__ = "catalog_row_repairs"
    __table_args__ = (
        # Repairs of an image, to delete images that nothing refers to.
        Index(
            "ix_catalog_row_repairs_image_uri",
            "image_uri",
            sqlite_where=text("image_uri IS NOT NULL"),
            postgresql_where=text("image_uri IS NOT NULL"),
        ),
    )

    catalog_id: Mapped[str] = mapped_column(
        ForeignKey("catalogs.id", ondelete="CASCADE"), primary_key=True
    )
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(String(16), default=RepairStatus.DRAFT.value)
    #: Counts the changes by people, so that nobody overwrites what another one has just typed.
    version: Mapped[int] = mapped_column(default=0)
    changed_at: Mapped[datetime] = mapped_column(default=now)
    #: Code of the reason for which the check rejected the row; empty for a row with a job.
    code: Mapped[str] = mapped_column(String(32), default="")
    #: Changed cells by column; without those that are as uploaded.
    cells: Mapped[dict[str, Any]] = mapped_column(default=dict)
    #: Cells and image of the last run, which the results show; empty before the first one.
    joined_cells: Mapped[dict[str, Any]] = mapped_column(default=dict)
    joined_image_uri: Mapped[str | None] = mapped_column(String(255))
    #: Title and description with the changes, from which the job is made.
    designation: Mapped[str] = mapped_column(Text, default="")
    description: Mapped[str] = mapped_column(Text, default="")
    #: Name under which the image was added, and the image if there is one.
    image_name: Mapped[str] = mapped_column(Text, default="")
    image_uri: Mapped[str | None] = mapped_column(String(255))
    image_bytes: Mapped[int | None]
    #: True if the row, with its changes, names that image; true if it names another one that is
    #: not there, so that only its text is classified.
    uses_image: Mapped[bool] = mapped_column(default=False)
    lacks_image: Mapped[bool] = mapped_column(default=False)
    #: True once the repaired row passes the check and differs from that of the last run.
    is_ready: Mapped[bool] = mapped_column(default=False)
    #: True once a run has included the row.
    is_joined: Mapped[bool] = mapped_column(default=False)
    #: Problem that remains: `code`, `column` (a field or `null`), `value`, `reason`; else empty.
    problem: Mapped[dict[str, Any]] = mapped_column(default=dict)
