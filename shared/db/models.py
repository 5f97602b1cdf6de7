"""The tables. Fusion alone writes scores and final states; the gateway inserts and cancels jobs."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

import uuid_utils
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    or_,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

#: Length of a UUID as text.
ID = String(36)
#: Hexadecimal digits of a row's number in a catalog's job id.
ROW_DIGITS = 8


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time on every database; SQLite would forget the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: object) -> datetime | None:
        """Store in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: object) -> datetime | None:
        """Read as UTC."""
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC)


class JobStatus(StrEnum):
    """A job is queued until it is final."""

    QUEUED = "queued"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class CatalogStatus(StrEnum):
    """A catalog is checked, then fed to the workers, until it is final."""

    VALIDATING = "validating"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrainingStatus(StrEnum):
    """A training run is queued or running until it has ended."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DatasetStatus(StrEnum):
    """A version of a dataset is checked once; what is ready never changes again."""

    CHECKING = "checking"
    READY = "ready"
    FAILED = "failed"
    #: Its dataset is being removed.
    DELETING = "deleting"


class AlertStatus(StrEnum):
    """What becomes of an alert."""

    OPEN = "open"
    #: A person has to allow the training.
    ASKING = "asking"
    TRAINING = "training"
    ENDED = "ended"


class Role(StrEnum):
    """What an account may do."""

    ADMIN = "admin"
    OPERATOR = "operator"
    CLIENT = "client"


def new_id() -> str:
    """Make a UUIDv7: unique, and ordered by the time it was made (RFC 9562)."""
    return str(uuid_utils.uuid7())


def new_catalog_id() -> str:
    """Make a UUIDv7 whose last 32 bits are left to the catalog's rows."""
    return new_id()[:-ROW_DIGITS] + "0" * ROW_DIGITS


def row_job_id(catalog_id: str, row: int) -> str:
    """The id of the job of a catalog's row.

    It follows from the row: what is fed twice is one job, and the rows are read in their order.
    """
    return f"{catalog_id[:-ROW_DIGITS]}{row:0{ROW_DIGITS}x}"


def row_of_job(job_id: str) -> int:
    """The row's number in a catalog's job id."""
    return int(job_id[-ROW_DIGITS:], 16)


def first_id_of(moment: datetime) -> str:
    """The least id that can have been made at a moment: ids begin with their milliseconds."""
    milliseconds = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-0000-0000-000000000000"


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """The root of the tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
    }


class User(Base):
    """An account."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16), default=Role.CLIENT.value)
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    #: SHA-256 of issuer and subject: whom an OpenID provider signs in to this account.
    identity_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    #: Of an account whose jobs were kept when it was deleted; it has no name and never returns.
    deleted_at: Mapped[datetime | None]


class LoginSession(Base):
    """A signed-in session: one family of rotating refresh tokens."""

    __tablename__ = "login_sessions"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    #: SHA-256 of the one refresh token that is valid now.
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    #: Of the one before, which is valid for a moment longer: the answer may have been lost.
    previous_hash: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)
    refreshed_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    #: From where it was started, and with what.
    address: Mapped[str | None] = mapped_column(String(64))
    agent: Mapped[str | None] = mapped_column(String(255))


class ApiKey(Base):
    """A key for programs: of one user, for some of what the user may do."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    #: The first characters, by which a person tells it from others.
    prefix: Mapped[str] = mapped_column(String(16))
    #: SHA-256 of the whole key.
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class OneTimeCode(Base):
    """Lets somebody choose a password, once: of a new account, or instead of a forgotten one."""

    __tablename__ = "one_time_codes"

    #: A user has one at most; a new one replaces it.
    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    #: SHA-256 of the code.
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]


class AuditEntry(Base):
    """Who did what to whom; each entry holds the hash of the one before. Never changed."""

    __tablename__ = "audit_log"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(64), index=True)
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str | None] = mapped_column(String(255))
    address: Mapped[str | None] = mapped_column(String(64))
    trace_id: Mapped[str] = mapped_column(String(32))
    details: Mapped[dict[str, Any]]
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


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


class Job(Base):
    """One product to classify, and the answer."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_user_id_id", "user_id", "id"),
        # A catalog's rows that are not done are few; so counting them stays quick.
        Index(
            "ix_jobs_catalog_id_status",
            "catalog_id",
            "status",
            sqlite_where=text("status != 'done'"),
            postgresql_where=text("status != 'done'"),
        ),
        # The sweeper's question: what is unfinished and past its lease?
        Index("ix_jobs_status_leased_until", "status", "leased_until"),
        # What was answered lately, for windows and reports; and what people have labelled.
        Index("ix_jobs_finished_at", "finished_at"),
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
    #: What was asked for: `fusion`, `text` or `image`.
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
#: Of a job whose product is still there; `gateway.retention` takes it away when the job is old.
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


class DeadLetter(Base):
    """A message that was given up, kept to be looked at and replayed."""

    __tablename__ = "dead_letters"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    topic: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    #: SHA-256 of topic and payload: the same message is parked once.
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    error: Mapped[str] = mapped_column(Text)
    deliveries: Mapped[int]
    parked_at: Mapped[datetime]


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
    #: How often a trainer began with it.
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
    pictures: Mapped[int | None]
    #: SHA-256 over everything that the version holds.
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    #: `findings` and counts, as `trainer.dataset_report` has them.
    report: Mapped[dict[str, Any] | None]
    message: Mapped[str | None] = mapped_column(Text)
    leased_until: Mapped[datetime | None]
    #: How often a trainer began to check it.
    attempts: Mapped[int] = mapped_column(default=0)

    @property
    def reference(self) -> str:
        """How a training run names it."""
        return f"{self.name}@{self.version}"


class Review(Base):
    """An answer that was chosen to be looked at by a person, and why."""

    __tablename__ = "reviews"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    chosen_at: Mapped[datetime] = mapped_column(default=now, index=True)
    reason: Mapped[str] = mapped_column(String(16))
    #: How likely it was to be chosen; a label counts for `1 / chance` answers.
    chance: Mapped[float]


class DriftWindow(Base):
    """What was measured of some answers that came one after another."""

    __tablename__ = "drift_windows"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    measured_at: Mapped[datetime] = mapped_column(default=now)
    release: Mapped[str] = mapped_column(String(32))
    rows: Mapped[int]
    #: The window's ends, by `finished_at`.
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    #: What moved, such as `text` or `prediction`; empty if nothing did.
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
    #: What moved, such as `text` or `prediction`.
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
    """How good a release is, measured or estimated at one time."""

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
