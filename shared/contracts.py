"""All messages between services, and the queues that carry them.

    gateway ─ ScoreText ──▶ text.<lane> ──▶ worker_text ──┐
            └ ScoreImage ─▶ image.<lane> ─▶ worker_image ─┴ ModalityScored ─▶ fusion.<lane>
    gateway ─ MakeThumbnails ─▶ image.<lane> ─▶ worker_image ─▶ stored thumbnails
    gateway ┬ ExplainText ──▶ text.<lane> ──▶ worker_text ──┐
            └ ExplainImage ─▶ image.<lane> ─▶ worker_image ─┴ ModalityExplained ─▶ fusion.<lane>
    any worker ─ MessageParked ─────────────────────────────────────────────▶ fusion.<lane>
    fusion.<lane> ─▶ worker_fusion ─▶ rows
    gateway, schedule, alert ─ TrainingRequested ─▶ training ─▶ trainer
    monitor, gateway, Alertmanager ─ DriftDetected ─▶ monitoring ─▶ trainer ─▶ TrainingRequested
    gateway ─ ReportRequested ─▶ monitoring ─▶ the report of a month
    gateway ─ DatasetUploaded ─▶ datasets ─▶ trainer ─▶ a validated dataset version

Requests have imperative names, facts are in the past tense. Work messages carry a list of items: a
single product is a list of one, a catalog is split into slices. Text is sent in the message itself,
images as storage URIs.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from shared.readable import readable


class Lane(StrEnum):
    """Priority class of a job: catalogs have their own queues, so they delay no interactive job."""

    INTERACTIVE = "interactive"
    CATALOG = "catalog"


class Modality(StrEnum):
    """Input that a score was computed from."""

    TEXT = "text"
    IMAGE = "image"


class _Frozen(BaseModel):
    # Unknown fields are ignored: during a rolling update, old workers read messages of the new
    # version. A new field therefore needs a default, and old workers must be able to do without it.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(_Frozen):
    """Base of all messages: topic, queue, and the id of the trace that caused the message."""

    topic: ClassVar[str]

    trace_id: str

    @property
    def queue(self) -> str:
        """Name of the queue that carries the message."""
        return self.topic


class LaneMessage(Message):
    """A message with separate interactive and catalog queues."""

    station: ClassVar[str]

    lane: Lane

    @property
    def queue(self) -> str:
        """Name of the queue that carries the message."""
        return queue_name(self.station, self.lane)


class WorkMessage(LaneMessage):
    """A message with a list of work items, all for one release."""

    #: False if the items only name jobs, whose states do not depend on the message.
    decides_jobs: ClassVar[bool] = True

    release: str
    items: tuple[Any, ...]
    #: Traces of the other requests in the same message, recorded as OpenTelemetry span links.
    links: tuple[str, ...] = ()
    #: User whose jobs these are: users who wait for the same lane take turns. Empty if unknown.
    user_id: str = ""

    def split(self) -> Sequence[Self]:
        """Return one message per item, so that a single bad item cannot fail the others."""
        return [self.model_copy(update={"items": (item,)}) for item in self.items]


#: Longest title or description sent; no model reads beyond this length.
MAX_TEXT_CHARACTERS = 4_000


class TextItem(_Frozen):
    """The text of one product."""

    job_id: str
    designation: str
    description: str

    @classmethod
    def of(cls, job_id: str, designation: str, description: str) -> Self:
        """Build an item with truncated texts: Redis holds queued messages in memory."""
        return cls(
            job_id=job_id,
            designation=_short(designation),
            description=_short(description),
        )


def _short(text: str) -> str:
    # Markup and addresses of data would fill the message before the words do.
    return text if len(text) <= MAX_TEXT_CHARACTERS else readable(text)[:MAX_TEXT_CHARACTERS]


class ScoreText(WorkMessage):
    """Ask for the category probabilities of texts."""

    topic = "score_text"
    station = "text"

    items: tuple[TextItem, ...]


class ImageItem(_Frozen):
    """The storage URI of one product's image."""

    job_id: str
    uri: str


class ScoreImage(WorkMessage):
    """Ask for the category probabilities of images."""

    topic = "score_image"
    station = "image"

    items: tuple[ImageItem, ...]


#: Sizes of thumbnails: the most pixels of their width and height.
THUMBNAIL_PIXELS = (96, 320, 640)


class MakeThumbnails(WorkMessage):
    """Ask for thumbnails of images, which are stored at `thumbnail_uri`, as WebP.

    An empty file is stored for an image that cannot be read.
    """

    topic = "make_thumbnails"
    station = "image"
    decides_jobs = False

    #: Thumbnails belong to no release.
    release: str = ""
    items: tuple[ImageItem, ...]
    pixels: int


def thumbnail_uri(image_uri: str, pixels: int) -> str:
    """Return the storage URI of the thumbnail of an image."""
    name = image_uri.rpartition("/")[2]
    return f"thumbnails/{name[:2]}/{name}-{pixels}"


class Failure(_Frozen):
    """Reason for a missing score: a stable code and a sentence."""

    code: str
    message: str


class ModalityScore(_Frozen):
    """Probabilities of one product, shape `(classes,)`, or the failure that prevented them."""

    job_id: str
    probabilities: tuple[float, ...] | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.probabilities is None) == (self.failure is None):
            raise ValueError("expected either probabilities or a failure")
        return self


class ModalityScored(WorkMessage):
    """Scores of one modality for all items of a slice."""

    topic = "modality_scored"
    station = "fusion"

    modality: Modality
    items: tuple[ModalityScore, ...]


class JobAnswer(_Frozen):
    """Final state of a job as its announcement has it; the fields are columns of `jobs`."""

    status: Literal["done", "failed"]
    finished_at: datetime
    prdtypecode: int | None = None
    confidence: float | None = None
    result: dict[str, Any] | None = None
    error_code: str | None = None
    error_message: str | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        is_answered = self.result is not None and self.prdtypecode is not None
        if not (is_answered if self.status == "done" else self.error_code):
            raise ValueError("expected a result of a done job, and an error of a failed one")
        return self


class _Explain(WorkMessage):
    """Base of requests for an explanation, which `ModalityExplained` answers."""

    decides_jobs = False

    #: Time after which nobody waits for the answer.
    expires_at: datetime


class ExplainTextItem(TextItem):
    """The text of one product, and the code of the category to explain."""

    prdtypecode: int


class ExplainText(_Explain):
    """Ask which words speak for a category."""

    topic = "explain_text"
    station = "text"

    items: tuple[ExplainTextItem, ...]


class ExplainImageItem(ImageItem):
    """The storage URI of one product's image, and the code of the category to explain."""

    prdtypecode: int


class ExplainImage(_Explain):
    """Ask which parts of an image speak for a category."""

    topic = "explain_image"
    station = "image"

    items: tuple[ExplainImageItem, ...]


class ExplainedWords(_Frozen):
    """Consecutive words, and the fall of the category's log-odds without them."""

    text: str
    effect: float


class Explained(_Frozen):
    """Explanation of one product by one modality, or the failure that prevented it.

    Attributes:
        probability: Probability of the category with nothing left out.
        designation: All words of the title, in order.
        description: All words of the description, in order.
        grid: Fall of the log-odds without each cell of the image, by row and column.
    """

    job_id: str
    probability: float | None = None
    designation: tuple[ExplainedWords, ...] = ()
    description: tuple[ExplainedWords, ...] = ()
    grid: tuple[tuple[float, ...], ...] = ()
    failure: Failure | None = None


class ModalityExplained(WorkMessage):
    """Explanations of one modality."""

    topic = "modality_explained"
    station = "fusion"
    decides_jobs = False

    modality: Modality
    items: tuple[Explained, ...]


class MessageParked(LaneMessage):
    """A message became a dead letter after repeated deliveries; its payload is kept."""

    topic = "message_parked"
    station = "fusion"

    parked_topic: str
    payload: dict[str, Any]
    error: str
    deliveries: int
    parked_at: datetime


class TrainingRequested(Message):
    """Request a training run: by a person, the schedule, or a drift alert."""

    topic = "training_requested"

    run_id: str
    reason: str
    requested_by: str

    @property
    def queue(self) -> str:
        """Name of the queue that carries the message."""
        return TRAINING_QUEUE


class DatasetUploaded(Message):
    """A dataset version was uploaded and is ready for validation."""

    topic = "dataset_uploaded"

    version_id: str

    @property
    def queue(self) -> str:
        """Name of the queue that carries the message."""
        return DATASETS_QUEUE


class DriftDetected(Message):
    """A drift alert was raised; the trainer decides on the response."""

    topic = "drift_detected"

    alert_id: str

    @property
    def queue(self) -> str:
        """Name of the queue that carries the message."""
        return MONITORING_QUEUE


class ReportRequested(Message):
    """Request the report of a month, such as `2026-11`."""

    topic = "report_requested"

    month: str

    @property
    def queue(self) -> str:
        """Name of the queue that carries the message."""
        return MONITORING_QUEUE


TRAINING_QUEUE = "training"
DATASETS_QUEUE = "datasets"
MONITORING_QUEUE = "monitoring"
STATIONS = ("text", "image", "fusion")
#: Every message type by its topic.
TOPICS: dict[str, type[Message]] = {
    kind.topic: kind
    for kind in (
        ScoreText,
        ScoreImage,
        MakeThumbnails,
        ModalityScored,
        ExplainText,
        ExplainImage,
        ModalityExplained,
        MessageParked,
        TrainingRequested,
        DatasetUploaded,
        DriftDetected,
        ReportRequested,
    )
}


def queue_name(station: str, lane: Lane) -> str:
    """Return the queue name of a station and lane, such as `text.interactive`."""
    return f"{station}.{lane.value}"


def all_queues() -> tuple[str, ...]:
    """Return the names of all queues."""
    lanes = (queue_name(station, lane) for station in STATIONS for lane in Lane)
    return (*lanes, TRAINING_QUEUE, DATASETS_QUEUE, MONITORING_QUEUE)
