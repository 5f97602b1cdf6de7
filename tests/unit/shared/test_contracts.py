from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from shared.contracts import (
    TOPICS,
    DatasetUploaded,
    DriftDetected,
    Failure,
    ImageItem,
    Lane,
    Message,
    MessageParked,
    Modality,
    ModalityScore,
    ModalityScored,
    ReportRequested,
    ScoreImage,
    ScoreText,
    TextItem,
    TrainingRequested,
    all_queues,
)

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
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.topic)
def test_message_is_the_same_after_json(message: Message) -> None:
    kind = TOPICS[message.topic]
    assert kind is type(message)
    assert kind.model_validate_json(message.model_dump_json()) == message
    assert kind.model_validate(message.model_dump(mode="json")) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.topic)
def test_message_travels_on_a_queue_that_exists(message: Message) -> None:
    assert message.queue in all_queues()


def test_every_message_type_is_tried_here() -> None:
    assert {message.topic for message in MESSAGES} == set(TOPICS)


def test_lanes_have_queues_of_their_own() -> None:
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


def test_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        ScoreText.model_validate({**MESSAGES[0].model_dump(mode="json"), "surprise": 1})
