"""Every message of the system and the queue it travels on.

    gateway ─ ScoreText ──▶ text.<lane> ──▶ worker_text ──┐
            └ ScoreImage ─▶ image.<lane> ─▶ worker_image ─┴ ModalityScored ─▶ fusion.<lane>
    any worker ─ MessageParked ─────────────────────────────────────────────▶ fusion.<lane>
    fusion.<lane> ─▶ worker_fusion ─▶ rows
    gateway, schedule, alert ─ TrainingRequested ─▶ training ─▶ trainer
    monitor, gateway, Alertmanager ─ DriftDetected ─▶ monitoring ─▶ trainer ─▶ TrainingRequested
    gateway ─ ReportRequested ─▶ monitoring ─▶ the month's page
    gateway ─ DatasetUploaded ─▶ datasets ─▶ trainer ─▶ a version that can be trained on

Requests are imperative, facts are in the past tense. Work messages carry a list: one product is a
list of one, a catalog is slices. Text travels in the message, images as URIs.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator


class Lane(StrEnum):
    """Interactive jobs and catalogs wait in separate queues."""

    INTERACTIVE = "interactive"
    CATALOG = "catalog"


class Modality(StrEnum):
    """What a score was made from."""

    TEXT = "text"
    IMAGE = "image"


class _Frozen(BaseModel):
    # Fields that are not known are passed over: while a new version is rolled out, old workers read
    # its messages. So a new field has a default, and nothing is lost where it is not read.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(_Frozen):
    """What all messages have: a topic, the queue, and the trace that caused them."""

    topic: ClassVar[str]

    trace_id: str

    @property
    def queue(self) -> str:
        """Name of the queue that the message travels on."""
        return self.topic


class LaneMessage(Message):
    """A message that travels in one of two lanes."""

    station: ClassVar[str]

    lane: Lane

    @property
    def queue(self) -> str:
        """Name of the queue that the message travels on."""
        return queue_name(self.station, self.lane)


class WorkMessage(LaneMessage):
    """A message with a list of work items, all for one release."""

    release: str
    items: tuple[Any, ...]
    #: Traces of the other requests that it answers, as the span links of OpenTelemetry.
    links: tuple[str, ...] = ()

    def split(self) -> Sequence[Self]:
        """One message per item, so that a single bad item cannot take the others with it."""
        return [self.model_copy(update={"items": (item,)}) for item in self.items]


#: Of a title or a description no more is read by any model; so no more travels.
MAX_TEXT_CHARACTERS = 4_000


class TextItem(_Frozen):
    """The text of one product."""

    job_id: str
    designation: str
    description: str

    @classmethod
    def of(cls, job_id: str, designation: str, description: str) -> Self:
        """Cut texts to what is read: queues hold their messages in memory."""
        return cls(
            job_id=job_id,
            designation=designation[:MAX_TEXT_CHARACTERS],
            description=description[:MAX_TEXT_CHARACTERS],
        )


class ScoreText(WorkMessage):
    """Ask for the category probabilities of texts."""

    topic = "score_text"
    station = "text"

    items: tuple[TextItem, ...]


class ImageItem(_Frozen):
    """The image of one product, by its address in the storage."""

    job_id: str
    uri: str


class ScoreImage(WorkMessage):
    """Ask for the category probabilities of images."""

    topic = "score_image"
    station = "image"

    items: tuple[ImageItem, ...]


class Failure(_Frozen):
    """Why something has no score: a stable code and a sentence."""

    code: str
    message: str


class ModalityScore(_Frozen):
    """One product's probabilities, shape `(classes,)`, or the reason why there are none."""

    job_id: str
    probabilities: tuple[float, ...] | None = None
    failure: Failure | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.probabilities is None) == (self.failure is None):
            raise ValueError("expected either probabilities or a failure")
        return self


class ModalityScored(WorkMessage):
    """A modality's scores of a slice are there."""

    topic = "modality_scored"
    station = "fusion"

    modality: Modality
    items: tuple[ModalityScore, ...]


class MessageParked(LaneMessage):
    """A message was given up after several deliveries; its payload is kept."""

    topic = "message_parked"
    station = "fusion"

    parked_topic: str
    payload: dict[str, Any]
    error: str
    deliveries: int
    parked_at: datetime


class TrainingRequested(Message):
    """Somebody or something asks for a new release."""

    topic = "training_requested"

    run_id: str
    reason: str
    requested_by: str

    @property
    def queue(self) -> str:
        """Name of the queue that the message travels on."""
        return TRAINING_QUEUE


class DatasetUploaded(Message):
    """A version of a dataset waits to be checked."""

    topic = "dataset_uploaded"

    version_id: str

    @property
    def queue(self) -> str:
        """Name of the queue that the message travels on."""
        return DATASETS_QUEUE


class DriftDetected(Message):
    """An alert was raised; something has to be decided about it."""

    topic = "drift_detected"

    alert_id: str

    @property
    def queue(self) -> str:
        """Name of the queue that the message travels on."""
        return MONITORING_QUEUE


class ReportRequested(Message):
    """Somebody asks for the report of a month, such as `2026-11`."""

    topic = "report_requested"

    month: str

    @property
    def queue(self) -> str:
        """Name of the queue that the message travels on."""
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
        ModalityScored,
        MessageParked,
        TrainingRequested,
        DatasetUploaded,
        DriftDetected,
        ReportRequested,
    )
}


def queue_name(station: str, lane: Lane) -> str:
    """Queue of a station's lane, such as `text.interactive`."""
    return f"{station}.{lane.value}"


def all_queues() -> tuple[str, ...]:
    """Every queue of the system."""
    lanes = (queue_name(station, lane) for station in STATIONS for lane in Lane)
    return (*lanes, TRAINING_QUEUE, DATASETS_QUEUE, MONITORING_QUEUE)
