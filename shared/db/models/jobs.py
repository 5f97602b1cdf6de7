"""Jobs and scores. Only fusion writes scores and results; the gateway inserts and cancels jobs."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, or_, text
from sqlalchemy.orm import Mapped, mapped_column, query_expression

from shared.db.models.base import ID, Base, new_id, now


class JobStatus(StrEnum):
    """State of a job, which is queued until it is final."""

    QUEUED = "queued"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Base):
    """One product to classify, and its result."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_user_id_id", "user_id", "id"),
        # Few rows are not done, so a partial index makes it fast to count them and to list them in
        # order.
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
        # Answers of a catalog by confidence. With the other columns, counts by category and label
        # and the precision dial read the index alone.
        Index(
            "ix_jobs_catalog_id_confidence",
            "catalog_id",
            "confidence",
            "id",
            "prdtypecode",
            "label",
            sqlite_where=text("confidence IS NOT NULL"),
            postgresql_where=text("confidence IS NOT NULL"),
        ),
        # Answers of a catalog to products that seem foreign, which the precision dial leaves out.
        Index(
            "ix_jobs_catalog_id_foreign",
            "catalog_id",
            "confidence",
            "prdtypecode",
            "label",
            sqlite_where=text("is_foreign = 1"),
            postgresql_where=text("is_foreign"),
        ),
        # Used by the sweeper to find unfinished jobs with an expired lease.
        Index("ix_jobs_status_leased_until", "status", "leased_until"),
        # Recently finished jobs, for reports and reviews, and those of a release, for drift
        # windows. The status comes first, because SQLite would otherwise read all done jobs
        # instead of a time range.
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
        # Images of a user, each once, for the quota of stored bytes.
        Index(
            "ix_jobs_user_id_image_uri",
            "user_id",
            "image_uri",
            "image_bytes",
            sqlite_where=text("image_bytes IS NOT NULL"),
            postgresql_where=text("image_bytes IS NOT NULL"),
        ),
        # Jobs of an image, to delete images that no job refers to.
        Index(
            "ix_jobs_image_uri",
            "image_uri",
            sqlite_where=text("image_uri IS NOT NULL"),
            postgresql_where=text("image_uri IS NOT NULL"),
        ),
        # Jobs that people have labelled.
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
    #: Size of the stored image, which counts towards the user's quota; empty in rows of earlier
    #: versions, and once the image may be deleted.
    image_bytes: Mapped[int | None]
    wants_text: Mapped[bool]
    wants_image: Mapped[bool]

    status: Mapped[str] = mapped_column(String(16), default=JobStatus.QUEUED.value)
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    #: Time when the job's messages were last sent. The sweeper compares it with the oldest message
    #: of the queue.
    published_at: Mapped[datetime] = mapped_column(default=now)
    leased_until: Mapped[datetime]
    #: Number of times that the sweeper found the job's messages lost.
    attempts: Mapped[int] = mapped_column(default=0)

    prdtypecode: Mapped[int | None]
    confidence: Mapped[float | None]
    #: Answer in the format of the API: `top`, `modalities`, `degraded`.
    result: Mapped[dict[str, Any] | None]
    #: True if the product seems to belong to none of the categories; empty without an answer, and
    #: for releases that cannot tell.
    is_foreign: Mapped[bool | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    #: True category according to a person, the time of the label and the person's name.
    label: Mapped[int | None]
    labelled_at: Mapped[datetime | None]
    labelled_by: Mapped[str | None] = mapped_column(String(64))
    #: ID of the person's account, because a name may be given to another account later. It refers
    #: to no row once the account is deleted.
    labelled_by_id: Mapped[str | None] = mapped_column(ID)
    #: First characters of the designation, in lists that do not load the whole.
    title: Mapped[str | None] = query_expression()


#: Condition to add to queries for unfinished jobs: SQLite uses a partial index only if the query
#: repeats the condition of the index word for word.
NOT_DONE = text("jobs.status != 'done'")
#: Jobs whose product is still stored; `gateway.operations.retention` deletes old products.
HAS_PRODUCT = or_(Job.designation != "", Job.description != "", Job.image_uri.is_not(None))


class Score(Base):
    """Probabilities of one modality for one job, or the reason why there are none."""

    __tablename__ = "scores"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    modality: Mapped[str] = mapped_column(String(16), primary_key=True)
    release: Mapped[str] = mapped_column(String(32))
    #: float32, little endian, shape `(classes,)`.
    probabilities: Mapped[bytes | None] = mapped_column(LargeBinary)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    scored_at: Mapped[datetime] = mapped_column(default=now)


class ExplanationStatus(StrEnum):
    """State of an explanation."""

    QUEUED = "queued"
    DONE = "done"
    FAILED = "failed"


class Explanation(Base):
    """Explanation of the answer of a job in one modality. The gateway asks, fusion answers."""

    __tablename__ = "explanations"
    __table_args__ = (
        # Explanations in progress, for the limits of them.
        Index(
            "ix_explanations_expires_at",
            "expires_at",
            sqlite_where=text("status = 'queued'"),
            postgresql_where=text("status = 'queued'"),
        ),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    modality: Mapped[str] = mapped_column(String(16), primary_key=True)
    status: Mapped[str] = mapped_column(String(16), default=ExplanationStatus.QUEUED.value)
    #: ID of the account that asked; it refers to no row once the account is deleted.
    requested_by_id: Mapped[str] = mapped_column(ID)
    requested_at: Mapped[datetime] = mapped_column(default=now)
    #: Time after which a queued explanation counts as lost.
    expires_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    probability: Mapped[float | None]
    #: The explanation in the format of the API: `designation` and `description`, or `grid`.
    content: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)


class IdempotencyKey(Base):
    """Key of a submission, so that repeating the request returns the same job."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    #: SHA-256 of the submitted product and its parameters.
    fingerprint: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Review(Base):
    """Answer that was sampled for review by a person, and the reason."""

    __tablename__ = "reviews"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    chosen_at: Mapped[datetime] = mapped_column(default=now, index=True)
    reason: Mapped[str] = mapped_column(String(16))
    #: Probability of being sampled by either part of the sample.
    chance: Mapped[float]
    #: Probability of being sampled by the random part alone. If people label more of one part than
    #: of the other, the weight of a label depends on both. Older versions of the monitor leave it
    #: empty.
    random_chance: Mapped[float | None]
