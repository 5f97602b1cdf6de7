from datetime import timedelta

from shared.contracts import (
    Explained,
    ExplainedWords,
    ExplainText,
    ExplainTextItem,
    Failure,
    Lane,
    Modality,
    ModalityExplained,
)
from shared.db.models import Explanation, Job, now
from tests.unit.worker_fusion.conftest import Scene
from tests.unit.worker_fusion.test_dead_letters import letters, park


def requested(scene: Scene, modality: Modality = Modality.TEXT) -> str:
    """Add a job with an explanation in progress."""
    job_id = scene.add(status="done")
    with scene.unit_of_work() as work:
        work.session.add(
            Explanation(
                job_id=job_id,
                modality=modality.value,
                requested_by_id=scene.user.id,
                expires_at=now() + timedelta(minutes=1),
            )
        )
    return job_id


def stored(scene: Scene, job_id: str, modality: str = "text") -> Explanation | None:
    with scene.unit_of_work.reading() as session:
        return session.get(Explanation, (job_id, modality))


def explained(*items: Explained, modality: Modality = Modality.TEXT) -> ModalityExplained:
    return ModalityExplained(
        trace_id="a" * 32, lane=Lane.INTERACTIVE, release="1", modality=modality, items=items
    )


def words(job_id: str, effect: float = 1.5) -> Explained:
    part = ExplainedWords(text="piscine", effect=effect)
    return Explained(job_id=job_id, probability=0.9, designation=(part,))


def test_explanation_is_stored_once(scene: Scene) -> None:
    job_id = requested(scene)
    scene.explanations.on_modality_explained(explained(words(job_id)))
    scene.explanations.on_modality_explained(explained(words(job_id, 9.9)))
    row = stored(scene, job_id)
    assert row is not None
    assert (row.status, row.probability, row.error_code) == ("done", 0.9, None)
    assert row.content == {
        "designation": [{"text": "piscine", "effect": 1.5}],
        "description": [],
    }
    assert row.finished_at is not None


def test_grid_of_an_image_is_stored(scene: Scene) -> None:
    job_id = requested(scene, Modality.IMAGE)
    item = Explained(job_id=job_id, probability=0.9, grid=((0.5, -0.5), (0.0, 1.0)))
    scene.explanations.on_modality_explained(explained(item, modality=Modality.IMAGE))
    row = stored(scene, job_id, "image")
    assert row is not None
    assert row.content == {"grid": [[0.5, -0.5], [0.0, 1.0]]}


def test_failure_is_stored(scene: Scene) -> None:
    job_id = requested(scene)
    failure = Failure(code="release_unknown", message="Release 9 is gone")
    scene.explanations.on_modality_explained(explained(Explained(job_id=job_id, failure=failure)))
    row = stored(scene, job_id)
    assert row is not None
    assert (row.status, row.error_code, row.error_message) == (
        "failed",
        "release_unknown",
        "Release 9 is gone",
    )


def test_explanation_that_nobody_requested_is_dropped(scene: Scene) -> None:
    job_id = scene.add(status="done")
    scene.explanations.on_modality_explained(explained(words(job_id), words("gone")))
    assert stored(scene, job_id) is None


def test_explanation_goes_with_its_job(scene: Scene) -> None:
    job_id = requested(scene)
    with scene.unit_of_work() as work:
        work.session.delete(work.session.get_one(Job, job_id))
    assert stored(scene, job_id) is None


def test_request_that_was_given_up_fails_and_the_answer_stays(scene: Scene) -> None:
    job_id = requested(scene)
    item = ExplainTextItem(job_id=job_id, designation="x", description="", prdtypecode=10)
    message = ExplainText(
        trace_id="a" * 32,
        lane=Lane.INTERACTIVE,
        release="1",
        items=(item,),
        expires_at=now(),
    )
    scene.dead_letters.on_message_parked(park(message))
    row = stored(scene, job_id)
    assert row is not None
    assert (row.status, row.error_code) == ("failed", "message_parked")
    assert scene.job(job_id).status == "done"
    assert len(letters(scene)) == 1


def test_explanation_that_could_not_be_stored_fails(scene: Scene) -> None:
    text, image = requested(scene), requested(scene, Modality.IMAGE)
    grid = Explained(job_id=image, grid=((0.5, 0.5), (0.5, 0.5)))
    for message in (explained(words(text)), explained(grid, modality=Modality.IMAGE)):
        scene.dead_letters.on_message_parked(park(message))
    for job_id, modality in ((text, "text"), (image, "image")):
        row = stored(scene, job_id, modality)
        assert row is not None
        assert (row.status, row.error_code) == ("failed", "message_parked")
