from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from shared.contracts import (
    MAX_TEXT_CHARACTERS,
    TOPICS,
    DatasetUploaded,
    DriftDetected,
    Explained,
    ExplainedWords,
    ExplainImage,
    ExplainImageItem,
    ExplainText,
    ExplainTextItem,
    Failure,
    ImageItem,
    Lane,
    MakeThumbnails,
    Message,
    MessageParked,
    Modality,
    ModalityExplained,
    ModalityScore,
    ModalityScored,
    ReportRequested,
    ScoreImage,
    ScoreText,
    TextItem,
    TrainingRequested,
    all_queues,
)
from shared.inference.preparation.text import product_text

TRACE = "a" * 32
MESSAGES: list[Message] = [
    ScoreText(
        trace_id=TRACE,
        lane=Lane.INTERACTIVE,
        release="3",
        items=(TextItem(job_id="1", designation="Piscine «été»", description="\u0000 <b>"),),
    ),
    ScoreImage(
        trace_id=TRACE,
        lane=Lane.CATALOG,
        release="3",
        items=(ImageItem(job_id="1", uri="images/ab/abc"),),
    ),
    ModalityScored(
        trace_id=TRACE,
        lane=Lane.CATALOG,
        release="3",
        modality=Modality.TEXT,
        items=(
            ModalityScore(job_id="1", probabilities=(0.25, 0.75)),
            ModalityScore(job_id="2", failure=Failure(code="image_missing", message="gone")),
        ),
    ),
    MessageParked(
        trace_id=TRACE,
        lane=Lane.INTERACTIVE,
        parked_topic="score_text",
        payload={"items": []},
        error="given up after 4 deliveries",
        deliveries=4,
        parked_at=datetime(2026, 1, 1, tzinfo=UTC),
    ),
    TrainingRequested(trace_id=TRACE, run_id="r", reason="drift", requested_by="ada"),
    DatasetUploaded(trace_id=TRACE, version_id="v"),
    DriftDetected(trace_id=TRACE, alert_id="a"),
    ReportRequested(trace_id=TRACE, month="2026-11"),
    ExplainText(
        trace_id=TRACE,
        lane=Lane.INTERACTIVE,
        release="3",
        items=(ExplainTextItem(job_id="1", designation="a", description="b", prdtypecode=10),),
        expires_at=datetime(2026, 1, 1, tzinfo=UTC),
    ),
    ExplainImage(
        trace_id=TRACE,
        lane=Lane.INTERACTIVE,
        release="3",
        items=(ExplainImageItem(job_id="1", uri="images/ab/abc", prdtypecode=10),),
        expires_at=datetime(2026, 1, 1, tzinfo=UTC),
    ),
    ModalityExplained(
        trace_id=TRACE,
        lane=Lane.INTERACTIVE,
        release="3",
        modality=Modality.TEXT,
        items=(
            Explained(
                job_id="1",
                probability=0.9,
                designation=(ExplainedWords(text="a", effect=1.5),),
                grid=((0.5, -0.5), (0.0, 1.0)),
            ),
            Explained(job_id="2", failure=Failure(code="image_missing", message="gone")),
        ),
    ),
    MakeThumbnails(
        trace_id=TRACE,
        lane=Lane.INTERACTIVE,
        items=(ImageItem(job_id="1", uri="images/ab/abc"),),
        pixels=96,
    ),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.topic)
def test_message_survives_a_json_round_trip(message: Message) -> None:
    kind = TOPICS[message.topic]
    assert kind is type(message)
    assert kind.model_validate_json(message.model_dump_json()) == message
    assert kind.model_validate(message.model_dump(mode="json")) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.topic)
def test_message_has_a_known_queue(message: Message) -> None:
    assert message.queue in all_queues()


def test_every_topic_has_an_example() -> None:
    assert {message.topic for message in MESSAGES} == set(TOPICS)


def test_lanes_have_separate_queues() -> None:
    quick = MESSAGES[0].model_copy(update={"lane": Lane.INTERACTIVE})
    slow = MESSAGES[0].model_copy(update={"lane": Lane.CATALOG})
    assert (quick.queue, slow.queue) == ("text.interactive", "text.catalog")


def test_split_gives_each_item_its_own_message() -> None:
    scored = MESSAGES[2]
    assert isinstance(scored, ModalityScored)
    parts = scored.split()
    assert [part.items for part in parts] == [(item,) for item in scored.items]
    assert all(part.release == "3" and part.lane is Lane.CATALOG for part in parts)


def test_score_is_either_probabilities_or_a_failure() -> None:
    failure = Failure(code="image_missing", message="gone")
    with pytest.raises(ValidationError, match="either probabilities or a failure"):
        ModalityScore(job_id="1")
    with pytest.raises(ValidationError, match="either probabilities or a failure"):
        ModalityScore(job_id="1", probabilities=(1.0,), failure=failure)


def with_unknown_fields(value: Any) -> Any:
    """Return the payload of a newer version, with an unknown field in every object."""
    if isinstance(value, dict):
        return {name: with_unknown_fields(field) for name, field in value.items()} | {
            "a_new_field": 1
        }
    return [with_unknown_fields(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "message",
    # A parked message keeps its payload unchanged, with all unknown fields.
    [message for message in MESSAGES if not isinstance(message, MessageParked)],
    ids=lambda message: message.topic,
)
def test_message_of_a_newer_version_is_read(message: Message) -> None:
    newer = with_unknown_fields(message.model_dump(mode="json"))
    assert type(message).model_validate(newer) == message


#: Messages of the first version. Add an example when a message changes, and never remove one.
EARLIER: dict[str, dict[str, Any]] = {
    "score_text": {
        "trace_id": TRACE,
        "lane": "interactive",
        "release": "3",
        "items": [{"job_id": "1", "designation": "Piscine", "description": ""}],
    },
    "score_image": {
        "trace_id": TRACE,
        "lane": "catalog",
        "release": "3",
        "items": [{"job_id": "1", "uri": "images/a"}],
    },
    "modality_scored": {
        "trace_id": TRACE,
        "lane": "interactive",
        "release": "3",
        "modality": "image",
        "items": [
            {"job_id": "1", "probabilities": [0.25, 0.75], "failure": None},
            {"job_id": "2", "probabilities": None, "failure": {"code": "x", "message": "y"}},
        ],
    },
    "message_parked": {
        "trace_id": TRACE,
        "lane": "catalog",
        "parked_topic": "score_text",
        "payload": {},
        "error": "x",
        "deliveries": 4,
        "parked_at": "2026-01-01T00:00:00Z",
    },
    "training_requested": {
        "trace_id": TRACE,
        "run_id": "r",
        "reason": "drift",
        "requested_by": "ada",
    },
    "dataset_uploaded": {"trace_id": TRACE, "version_id": "v"},
    "drift_detected": {"trace_id": TRACE, "alert_id": "a"},
    "report_requested": {"trace_id": TRACE, "month": "2026-11"},
    "explain_text": {
        "trace_id": TRACE,
        "lane": "interactive",
        "release": "3",
        "items": [{"job_id": "1", "designation": "a", "description": "", "prdtypecode": 10}],
        "expires_at": "2026-01-01T00:00:00Z",
    },
    "explain_image": {
        "trace_id": TRACE,
        "lane": "interactive",
        "release": "3",
        "items": [{"job_id": "1", "uri": "images/a", "prdtypecode": 10}],
        "expires_at": "2026-01-01T00:00:00Z",
    },
    "modality_explained": {
        "trace_id": TRACE,
        "lane": "interactive",
        "release": "3",
        "modality": "text",
        "items": [
            {
                "job_id": "1",
                "probability": 0.9,
                "designation": [{"text": "a", "effect": 1.5}],
                "description": [],
                "grid": [],
                "failure": None,
            }
        ],
    },
    "make_thumbnails": {
        "trace_id": TRACE,
        "lane": "interactive",
        "items": [{"job_id": "1", "uri": "images/a"}],
        "pixels": 96,
    },
}


@pytest.mark.parametrize("topic", TOPICS)
def test_message_of_an_earlier_version_is_read(topic: str) -> None:
    message = TOPICS[topic].model_validate(EARLIER[topic])
    assert message.trace_id == TRACE
    known = message.model_dump(mode="json")
    assert {name: known[name] for name in EARLIER[topic]} == EARLIER[topic]


def test_text_is_cut_only_beyond_what_the_model_reads() -> None:
    item = TextItem.of("1", "é" * 50_000, "short")
    assert item == TextItem(job_id="1", designation="é" * MAX_TEXT_CHARACTERS, description="short")
    whole = product_text("é" * 50_000, "short")
    assert product_text(item.designation, item.description) == whole
