"""Jobs and scores. Fusion alone writes scores and final states; the gateway inserts and cancels."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, or_, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db.models.base import ID, Base, new_id, now


class JobStatus(StrEnum):
    """A job is queued until it is final."""

    QUEUED = "queued"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Base):
    """One product to classify, and the answer."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_user_id_id", "user_id", "id"),
        # Rows that are not done are few; so counting them stays quick, and so does going through
        # them in their order.
        Index(
            "ix_jobs_user_id_status",
            "user_id",
            "status",
            "id",
            sqlite_where=text("status != 'done'"),
            postgresql_where=text("status != 'done'"),
        ),
        Index(
            "ix_jobs_catalog_id_status",
            "catalog_id",
            "status",
            "id",
            sqlite_where=text("status != 'done'"),
            postgresql_where=text("status != 'done'"),
        ),
        # The sweeper's question: what is unfinished and past its lease?
        Index("ix_jobs_status_leased_until", "status", "leased_until"),
        # What was answered lately, for reports and reviews, and by a release, for windows. With the
        # status before: SQLite would rather read all that is done than a span of time.
        Index(
            "ix_jobs_status_finished_at",
            "status",
            "finished_at",
            sqlite_where=text("finished_at IS NOT NULL"),
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        Index(
            "ix_jobs_release_finished_at",
            "release",
            "finished_at",
            sqlite_where=text("finished_at IS NOT NULL"),
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
        # What people have labelled.
        Index(
            "ix_jobs_labelled_at",
            "labelled_at",
            sqlite_where=text("labelled_at IS NOT NULL"),
            postgresql_where=text("labelled_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    catalog_id: Mapped[str | None] = mapped_column(ForeignKey("catalogs.id", ondelete="CASCADE"))
    trace_id: Mapped[str] = mapped_column(String(32))
    lane: Mapped[str] = mapped_column(String(16))
    #: Requested score: `fusion`, `text` or `image`.
    model: Mapped[str] = mapped_column(String(16))
    release: Mapped[str] = mapped_column(String(32))
    designation: Mapped[str] = mapped_column(Text, default="")
    description: Mapped[str] = mapped_column(Text, default="")
    image_uri: Mapped[str | None] = mapped_column(String(255))
    wants_text: Mapped[bool]
    wants_image: Mapped[bool]

    status: Mapped[str] = mapped_column(String(16), default=JobStatus.QUEUED.value)
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    #: When the job's messages were last sent; the sweeper compares it with the queues' heads.
    published_at: Mapped[datetime] = mapped_column(default=now)
    leased_until: Mapped[datetime]
    #: How often the sweeper found the job's messages lost.
    attempts: Mapped[int] = mapped_column(default=0)

    prdtypecode: Mapped[int | None]
    confidence: Mapped[float | None]
    #: The answer as the interface shows it: `top`, `modalities`, `degraded`.
    result: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    #: The true category, and who said so when.
    label: Mapped[int | None]
    labelled_at: Mapped[datetime | None]
    labelled_by: Mapped[str | None] = mapped_column(String(64))


#: In a query beside the status that is sought: SQLite uses the index of what is not done only where
#: its condition is repeated, word for word.
NOT_DONE = text("jobs.status != 'done'")
#: Jobs whose product is still stored; `gateway.operations.retention` deletes those of old jobs.
HAS_PRODUCT = or_(Job.designation != "", Job.description != "", Job.image_uri.is_not(None))


class Score(Base):
    """One modality's probabilities for one job, or why there are none."""

    __tablename__ = "scores"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    modality: Mapped[str] = mapped_column(String(16), primary_key=True)
    release: Mapped[str] = mapped_column(String(32))
    #: float32, little endian, shape `(classes,)`.
    probabilities: Mapped[bytes | None] = mapped_column(LargeBinary)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    scored_at: Mapped[datetime] = mapped_column(default=now)


class IdempotencyKey(Base):
    """A submission that must not happen twice."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    #: SHA-256 of the request's content.
    fingerprint: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Review(Base):
    """An answer that was chosen to be looked at by a person, and why."""

    __tablename__ = "reviews"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    chosen_at: Mapped[datetime] = mapped_column(default=now, index=True)
    reason: Mapped[str] = mapped_column(String(16))
    #: How likely it was to be chosen by either part of the sample.
    chance: Mapped[float]
    #: By the random part alone. Where people label more of one part than of the other, both are
    #: needed to tell for how many answers a label stands. An older monitor writes none.
    random_chance: Mapped[float | None]
