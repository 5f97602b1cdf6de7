"""What goes over HTTP. The shapes are public and stable; additions are welcome, changes are not."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from gateway.scopes import Scope
from shared.contracts import Lane
from shared.db.models import Role

ModelName = Literal["fusion", "text", "image"]
Username = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")
]
Password = Annotated[str, StringConstraints(min_length=8, max_length=128)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Why a request was not answered as it was meant (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = Field(
        default=[], description="`field` and `message` of each field at fault."
    )


class TokenPair(BaseModel):
    """An access token, and a refresh token that is valid once."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name
    expires_in: int = Field(description="Seconds until the access token ends.")


class RefreshRequest(_Body):
    """Trade a refresh token for new tokens."""

    refresh_token: str


class PasswordChange(_Body):
    """A new password, with the current one as proof."""

    current_password: str
    new_password: Password


class UserOut(BaseModel):
    """An account."""

    username: str
    role: Role
    is_active: bool
    created_at: datetime


class UserPage(BaseModel):
    """Accounts in the order of their names."""

    items: list[UserOut]
    next_cursor: str | None


class UserCreate(_Body):
    """A new account; without a password a one-time code lets its user choose one."""

    username: Username
    password: Password | None = None
    role: Role = Role.CLIENT


class OneTimeCodeOut(BaseModel):
    """Lets whoever has it choose the password, once: `POST /v1/password`."""

    code: str = Field(description="Shown once.")
    expires_at: datetime


class UserCreated(UserOut):
    """A new account, and what its user needs to choose a password."""

    one_time_code: OneTimeCodeOut | None = None


class PasswordChoice(_Body):
    """A password, chosen with a one-time code."""

    code: str = Field(min_length=1, max_length=128)
    new_password: Password


class SessionOut(BaseModel):
    """One of one's own signed-in sessions."""

    id: str
    created_at: datetime
    refreshed_at: datetime | None
    expires_at: datetime
    address: str | None
    agent: str | None
    is_current: bool


class SessionList(BaseModel):
    """One's own sessions, newest first."""

    items: list[SessionOut]


class ApiKeyCreate(_Body):
    """A new API key."""

    name: str = Field(min_length=1, max_length=64, description="What it is for.")
    scopes: list[Scope] = Field(min_length=1)
    expires_at: AwareDatetime | None = None


class ApiKeyOut(BaseModel):
    """One of one's own API keys."""

    id: str
    name: str
    prefix: str = Field(description="How the key begins.")
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class ApiKeyCreated(ApiKeyOut):
    """A new API key."""

    key: str = Field(description="Shown once; send it as `X-API-Key`.")


class ApiKeyList(BaseModel):
    """One's own API keys, newest first."""

    items: list[ApiKeyOut]


class AuditEntryOut(BaseModel):
    """Who did what to whom, from where, when."""

    number: int
    at: datetime
    actor: str
    action: str
    target: str | None
    address: str | None
    trace_id: str
    details: dict[str, Any]
    previous_hash: str
    hash: str


class AuditPage(BaseModel):
    """Entries of the audit log, newest first."""

    items: list[AuditEntryOut]
    next_cursor: str | None


class UserPatch(_Body):
    """What an admin may change of an account; what is absent stays."""

    role: Role | None = None
    is_active: bool | None = None


class CategoryProbability(BaseModel):
    """One category an answer considers."""

    prdtypecode: int
    category: str
    probability: float


class ModalityAnswer(BaseModel):
    """What one modality alone would have said."""

    prdtypecode: int
    confidence: float


class Result(BaseModel):
    """The answer to a job."""

    prdtypecode: int
    category: str
    confidence: float
    top: list[CategoryProbability]
    modalities: dict[str, ModalityAnswer]
    degraded: str | None = Field(description="Why a modality is missing from the answer.")


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str


class JobOut(BaseModel):
    """A job and, once it is final, its answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0193f0c2-7a3e-7c1a-9f62-2b8d6f0a4e11",
                    "status": "done",
                    "model": "fusion",
                    "release": "1",
                    "created_at": "2026-01-05T10:00:00Z",
                    "finished_at": "2026-01-05T10:00:00.08Z",
                    "result": {
                        "prdtypecode": 2583,
                        "category": "Piscine et accessoires",
                        "confidence": 0.97,
                        "top": [
                            {
                                "prdtypecode": 2583,
                                "category": "Piscine et accessoires",
                                "probability": 0.97,
                            }
                        ],
                        "modalities": {"text": {"prdtypecode": 2583, "confidence": 0.95}},
                        "degraded": None,
                    },
                    "error": None,
                    "label": None,
                }
            ]
        }
    )

    id: str
    status: Literal["queued", "done", "failed", "cancelled"]
    model: ModelName
    release: str
    created_at: datetime
    finished_at: datetime | None
    result: Result | None
    error: JobError | None
    label: int | None


class JobPage(BaseModel):
    """Jobs, newest first."""

    items: list[JobOut]
    next_cursor: str | None


class CatalogCounts(BaseModel):
    """Rows by what became of them; `queued` are those without an answer yet."""

    rows: int
    rejected: int
    queued: int
    done: int
    failed: int
    cancelled: int


class RefusedImage(BaseModel):
    """An entry of the archive that is not read, and why."""

    name: str
    reason: str


class CatalogOut(BaseModel):
    """A catalog and how far it is.

    Lists hold the first thousand; the counts beside them say how many there are.
    """

    id: str
    name: str = Field(description="Of the uploaded file.")
    status: Literal["validating", "running", "finished", "failed", "cancelled"]
    model: ModelName
    release: str
    dry_run: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    counts: CatalogCounts
    rows_per_second: float | None = Field(description="Over the last seconds; at the end, overall.")
    eta_seconds: float | None = Field(description="Until the last answer, at the present rate.")
    warnings: int = Field(description="Rows that go by their text: their picture is missing.")
    unmatched_images: list[str] = Field(description="Named by a row, not in the archive.")
    unmatched_count: int
    unused_images: list[str] = Field(description="In the archive, named by no row.")
    unused_count: int
    refused_images: list[RefusedImage] = Field(description="In the archive, and not read.")
    refused_count: int
    error: JobError | None


class CatalogPage(BaseModel):
    """Catalogs, newest first."""

    items: list[CatalogOut]
    next_cursor: str | None


class LabelIn(_Body):
    """The true category, from a person."""

    prdtypecode: int | None = Field(description="`null` takes a wrong label back.")


class LabelProblemOut(BaseModel):
    """Why a row of a label file was not taken."""

    row: int
    line: int
    column: str | None
    value: str
    reason: str


class LabelReportOut(BaseModel):
    """What became of the rows of a label file."""

    rows: int
    taken: int
    skipped: int = Field(description="Rows without a code.")
    rejected: int
    problems: list[LabelProblemOut] = Field(description="The first thousand rejected rows.")


class ReviewOut(BaseModel):
    """An answer that a person is asked to look at."""

    job_id: str
    chosen_at: datetime
    reason: str = Field(description="`random`, or `uncertain`: the models doubted.")
    chance: float = Field(description="How likely it was to be chosen, by either reason.")
    designation: str
    description: str
    image: str | None = Field(description="Where its picture is, if it has one.")
    result: Result | None
    release: str
    catalog_id: str | None
    label: int | None
    labelled_at: datetime | None
    labelled_by: str | None


class ReviewPage(BaseModel):
    """Reviews, the newest jobs first."""

    items: list[ReviewOut]
    next_cursor: str | None


class CategoryOut(BaseModel):
    """A category that can be predicted."""

    prdtypecode: int
    category: str


class CategoryList(BaseModel):
    """What a release can predict."""

    release: str
    items: list[CategoryOut]


class ReleaseOut(BaseModel):
    """One release of the models."""

    version: str
    aliases: list[str]
    created_at: datetime
    description: str
    figures: dict[str, float]
    rejected: str | None = Field(description="Why it may never serve.")


class PromotionOut(BaseModel):
    """One line of the ledger."""

    promoted_at: datetime
    version: str
    previous_version: str | None
    promoted_by: str
    reason: str
    figures: dict[str, Any]


class ReleaseList(BaseModel):
    """Releases, newest first, and who promoted which, when and why."""

    items: list[ReleaseOut]
    ledger: list[PromotionOut]


class PromoteRequest(_Body):
    """Why a person decides."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class QueueTotals(BaseModel):
    """All queues together, counted in messages; each is either waiting or running."""

    waiting: int = Field(description="Nobody has them yet.")
    running: int = Field(description="A worker has them, and has not acknowledged them.")
    oldest_seconds: float | None = Field(description="Since the longest waiting one was sent.")
    messages_per_second: float = Field(description="Handled by all workers, over a minute.")
    workers: int = Field(description="That announced themselves within the last seconds.")
    workers_proven: int = Field(description="Of these, the ones that are proven to consume.")


class QueueOut(QueueTotals):
    """One queue."""

    queue: str
    station: str
    lane: Lane | None


class JobsQueued(BaseModel):
    """Unfinished jobs of a lane, counted in the database."""

    lane: Lane
    queued: int
    oldest_seconds: float | None


class WorkerOut(BaseModel):
    """A worker that announced itself within the last seconds."""

    name: str
    queues: list[str]
    releases: list[str]
    running: int
    handled: int
    seconds_since_consumed: float | None
    seconds_since_asked: float | None = Field(
        description="Since the queue last answered it what there is to do."
    )
    state: Literal["working", "ready", "deaf"] = Field(
        description="`deaf`: it announces itself, has nothing to do, and does not ask for work."
    )


class QueueList(BaseModel):
    """What waits, what runs, who works; all messages counted at one moment."""

    items: list[QueueOut]
    totals: QueueTotals
    jobs_queued: int = Field(description="Unfinished jobs, counted in the database.")
    jobs: list[JobsQueued] = Field(description="The same by lane.")
    rows_to_feed: int = Field(description="Rows of catalogs that are no jobs yet.")
    workers: list[WorkerOut]


class DeadLetterOut(BaseModel):
    """A message that was given up, and what it was about."""

    id: str
    topic: str
    error: str
    deliveries: int
    parked_at: datetime
    job_ids: list[str]
    catalog_id: str | None
    release: str | None
    lane: Lane | None
    payload: dict[str, Any]


class DeadLetterReport(DeadLetterOut):
    """The same, and what became of its jobs."""

    jobs: dict[str, int] = Field(description="How many stand how; replay queues the failed ones.")


class DeadLetterList(BaseModel):
    """Dead letters, newest first."""

    items: list[DeadLetterOut]
    next_cursor: str | None


class TrainingRequest(_Body):
    """Why a new release is wanted, and from what."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    dataset: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        default=None,
        description="`name` or `name@version` of a stored dataset; else the trainer's own folder.",
    )


class TrainingRunOut(BaseModel):
    """A request for training and how it goes."""

    id: str
    status: Literal["queued", "running", "finished", "failed", "cancelled"]
    requested_at: datetime
    requested_by: str
    reason: str
    dataset: str | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    attempts: int = Field(description="How often a trainer began with it.")
    step: str | None = Field(description="What is being done, or was last.")
    progress: dict[str, Any] | None = Field(description="`step`, `done`, `of` and `at`.")
    version: str | None = Field(description="The release that came of it.")
    verdict: dict[str, Any] | None = Field(description="How it compares with the champion.")
    message: str | None
    log_tail: str | None = Field(description="The last lines that the training said.")


class TrainingRunList(BaseModel):
    """Training runs, newest first."""

    items: list[TrainingRunOut]


Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]


class DriftAlertIn(_Body):
    """Something that a person or a program saw."""

    summary: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    kind: Kind = Field(default="person", description="What moved, such as `text` or `prediction`.")
    release: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = None


class AlertmanagerAlert(BaseModel):
    """One alert of Prometheus; other fields are of no interest here."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default={})
    fingerprint: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class AlertmanagerWebhook(BaseModel):
    """What Alertmanager sends to a webhook (version 4)."""

    version: Literal["4"]
    alerts: list[AlertmanagerAlert] = Field(max_length=1_000)


class DismissRequest(_Body):
    """Why nothing is done about an alert."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class AlertStep(BaseModel):
    """What was done about an alert."""

    at: datetime
    by: str
    text: str


class DriftAlertOut(BaseModel):
    """An alert, and every step that was taken."""

    id: str
    raised_at: datetime
    source: str
    raised_by: str
    kind: str
    release: str | None
    status: str
    summary: str
    details: dict[str, Any]
    training_run_id: str | None
    steps: list[AlertStep]
    ended_at: datetime | None


class DriftWindowOut(BaseModel):
    """Some answers that came one after another, compared with the release's reference.

    `measured` has, by kind (`text`, `image`, `prediction`, `quality`), effect and threshold,
    p-value, a sentence, what moved most, categories and example jobs; `moved` names the kinds that
    are beyond both.
    """

    id: str
    measured_at: datetime
    release: str
    rows: int
    begins_at: datetime
    ends_at: datetime
    moved: list[str]
    measured: dict[str, Any]


class DriftWindowList(BaseModel):
    """Windows, newest first."""

    items: list[DriftWindowOut]
    next_cursor: str | None = None


class DriftAlertList(BaseModel):
    """Alerts, newest first."""

    items: list[DriftAlertOut]
    next_cursor: str | None = None


class PerformanceOut(BaseModel):
    """How good a release is, by modality and class, measured or estimated at one time."""

    id: str
    measured_at: datetime
    kind: str = Field(
        description="`test`: held-out rows. `labelled`: answers drawn for review. `volunteered`: "
        "labelled of people's own accord, no fair sample. `estimated`: without labels."
    )
    release: str
    modality: str = Field(description="`fusion` is what was answered; `text` and `image` alone.")
    begins_at: datetime | None = Field(description="Of the answers; none on the test set.")
    ends_at: datetime | None
    rows: int
    f1: float = Field(description="Weighted.")
    low: float | None = Field(
        description="End of the 95 % interval; none where the release speaks for itself."
    )
    high: float | None
    past_error: float | None = Field(
        description="Of an estimate: how far earlier ones were off, as root of the mean square."
    )
    classes: dict[str, dict[str, Any]] = Field(
        description="By code: `f1 low high rows`, and `taken_for`, rows by the wrong answer."
    )


class PerformanceList(BaseModel):
    """Figures, newest first."""

    items: list[PerformanceOut]
    next_cursor: str | None = None


class ReportRequest(_Body):
    """The month that a report is wanted of."""

    month: str = Field(max_length=16, examples=["2026-11"])


class ReportSummary(BaseModel):
    """A month and its verdict."""

    month: str
    made_at: datetime
    verdict: Literal["healthy", "watch", "retrain"]


class ReportOut(ReportSummary):
    """A month's report: everything that its page shows."""

    document: dict[str, Any]


class ReportList(BaseModel):
    """Reports, the newest month first."""

    items: list[ReportSummary]


class DatasetVersionOut(BaseModel):
    """One version of a dataset; once it is ready it never changes."""

    version: int
    status: Literal["checking", "ready", "failed", "deleting"]
    created_at: datetime
    created_by: str
    finished_at: datetime | None
    rows: int | None
    classes: int | None
    pictures: int | None
    fingerprint: str | None = Field(description="SHA-256: equal for equal content.")
    message: str | None = Field(description="Why it failed, or cannot be checked just now.")


class DatasetVersionReport(DatasetVersionOut):
    """A version, what it was made from, and what is wrong with it."""

    asked: dict[str, Any]
    report: dict[str, Any] | None


class DatasetOut(BaseModel):
    """A dataset and its versions, newest first."""

    name: str
    versions: list[DatasetVersionOut]


class DatasetReportOut(BaseModel):
    """A dataset and its versions, newest first, with their reports."""

    name: str
    versions: list[DatasetVersionReport]


class DatasetList(BaseModel):
    """Datasets in the order of their names."""

    items: list[DatasetOut]


class Health(BaseModel):
    """Whether the gateway can do its work, check by check."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]
