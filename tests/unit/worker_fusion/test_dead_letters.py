import pytest
from sqlalchemy import select

from shared.contracts import (
    ImageItem,
    Lane,
    Message,
    MessageParked,
    Modality,
    ScoreImage,
    ScoreText,
    TextItem,
    TrainingRequested,
)
from shared.db.models import DeadLetter, now
from tests.unit.worker_fusion.conftest import Scene, scored


def park(message: Message) -> MessageParked:
    return MessageParked(
        trace_id="a" * 32,
        lane=Lane.INTERACTIVE,
        parked_topic=message.topic,
        payload=message.model_dump(mode="json"),
        error="given up after 4 deliveries",
        deliveries=4,
        parked_at=now(),
    )


def score_text(id_: str) -> ScoreText:
    items = (TextItem(job_id=id_, designation="x", description=""),)
    return ScoreText(trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=items)


def score_image(id_: str) -> ScoreImage:
    items = (ImageItem(job_id=id_, uri="images/ab/abc"),)
    return ScoreImage(trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", items=items)


def letters(scene: Scene) -> list[DeadLetter]:
    with scene.unit_of_work.reading() as session:
        return list(session.scalars(select(DeadLetter)))


def test_parked_text_fails_a_job_without_an_image(scene: Scene) -> None:
    id_ = scene.add(wants_image=False)
    scene.dead_letters.on_message_parked(park(score_text(id_)))
    job = scene.job(id_)
    assert (job.status, job.error_code) == ("failed", "message_parked")
    assert "given up after 4 deliveries" in (job.error_message or "")


def test_parked_image_degrades_a_job_with_text(scene: Scene) -> None:
    id_ = scene.add()
    scene.dead_letters.on_message_parked(park(score_image(id_)))
    assert scene.job(id_).status == "queued"
    scene.join.on_modality_scored(scored(Modality.TEXT, id_))
    job = scene.job(id_)
    assert job.status == "done"
    assert job.result is not None
    assert job.result["degraded"] == "message_parked"


def test_parked_scores_fail_their_jobs(scene: Scene) -> None:
    id_, done = scene.add(), scene.add(status="done")
    scene.dead_letters.on_message_parked(park(scored(Modality.TEXT, id_, done)))
    assert (scene.job(id_).status, scene.job(id_).error_code) == ("failed", "message_parked")
    assert scene.job(done).status == "done"


def test_dead_letter_contains_the_message_for_a_replay(scene: Scene) -> None:
    message = score_text(scene.add())
    scene.dead_letters.on_message_parked(park(message))
    (letter,) = letters(scene)
    assert (letter.topic, letter.deliveries) == ("score_text", 4)
    assert ScoreText.model_validate(letter.payload) == message


def test_message_parked_twice_is_stored_once(scene: Scene) -> None:
    message = score_text(scene.add())
    for _ in range(2):
        scene.dead_letters.on_message_parked(park(message))
    assert len(letters(scene)) == 1


def test_parked_training_request_is_stored(scene: Scene) -> None:
    request = TrainingRequested(trace_id="a" * 32, run_id="r", reason="", requested_by="ada")
    scene.dead_letters.on_message_parked(park(request))
    assert [letter.topic for letter in letters(scene)] == ["training_requested"]


@pytest.mark.parametrize("topic", ["score_sound", "score_text"])
def test_unreadable_parked_message_is_stored_once(scene: Scene, topic: str) -> None:
    message = park(score_text("j"))
    payload = {"is": "of another version"}
    unread = message.model_copy(update={"parked_topic": topic, "payload": payload})
    for _ in range(2):
        scene.dead_letters.on_message_parked(unread)
    assert [(letter.topic, letter.payload) for letter in letters(scene)] == [(topic, payload)]
