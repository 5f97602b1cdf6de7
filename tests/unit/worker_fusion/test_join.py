from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from shared.contracts import Failure, JobAnswer, Lane, Modality, ModalityScore
from shared.db.models import Job
from shared.errors import Unavailable
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.novelty import Novelty
from tests.support.fakes import FakeBroker
from tests.unit.worker_fusion.conftest import Scene, failed, make_scored, scored

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE


def facts(job: Job) -> tuple[object, ...]:
    return job.status, job.prdtypecode, job.confidence, job.result, job.finished_at


@pytest.mark.parametrize(("first", "second"), [(TEXT, IMAGE), (IMAGE, TEXT)])
def test_second_modality_completes_the_job(scene: Scene, first: Modality, second: Modality) -> None:
    id_ = scene.add()
    scene.join.on_modality_scored(scored(first, id_))
    assert scene.job(id_).status == "queued"
    scene.join.on_modality_scored(scored(second, id_))
    job = scene.job(id_)
    assert (job.status, job.prdtypecode) == ("done", 2583)
    assert job.finished_at is not None
    assert job.result is not None
    assert set(job.result["modalities"]) == {"text", "image"}


def test_job_with_one_modality_is_done_after_its_score(scene: Scene) -> None:
    text = scene.add(wants_image=False)
    image = scene.add(wants_text=False)
    scene.join.on_modality_scored(scored(TEXT, text, likely=0))
    scene.join.on_modality_scored(scored(IMAGE, image))
    assert (scene.job(text).status, scene.job(text).prdtypecode) == ("done", 10)
    assert (scene.job(image).status, scene.job(image).prdtypecode) == ("done", 2583)


def test_repeated_score_changes_nothing(scene: Scene) -> None:
    id_ = scene.add()
    for _ in range(2):
        scene.join.on_modality_scored(scored(TEXT, id_))
    assert scene.scores() == 1
    scene.join.on_modality_scored(scored(IMAGE, id_))
    before = facts(scene.job(id_))
    for message in (scored(TEXT, id_, likely=0), scored(IMAGE, id_, likely=0)):
        scene.join.on_modality_scored(message)
    assert facts(scene.job(id_)) == before
    assert scene.scores() == 2


def test_job_repeated_in_a_message_is_scored_once(scene: Scene) -> None:
    id_ = scene.add(wants_image=False)
    scene.join.on_modality_scored(scored(TEXT, id_, id_))
    assert scene.job(id_).status == "done"
    assert scene.scores() == 1


def test_cancelled_job_stays_cancelled(scene: Scene) -> None:
    id_ = scene.add(wants_image=False, status="cancelled")
    scene.join.on_modality_scored(scored(TEXT, id_))
    assert scene.job(id_).status == "cancelled"
    assert scene.scores() == 0


def test_unknown_job_is_ignored_and_the_others_are_done(scene: Scene) -> None:
    id_ = scene.add(wants_image=False)
    scene.join.on_modality_scored(scored(TEXT, "no-such-job", id_))
    assert scene.job(id_).status == "done"


def test_score_of_another_release_is_ignored(scene: Scene) -> None:
    id_ = scene.add(wants_image=False)
    scene.join.on_modality_scored(scored(TEXT, id_, release="2"))
    assert scene.job(id_).status == "queued"
    assert scene.scores() == 0


def test_slice_completes_only_jobs_with_all_modalities(scene: Scene) -> None:
    both = [scene.add() for _ in range(3)]
    text_only = [scene.add(wants_image=False) for _ in range(3)]
    scene.join.on_modality_scored(scored(IMAGE, both[0]))
    scene.join.on_modality_scored(scored(TEXT, *both, *text_only))
    states = [scene.job(id_).status for id_ in (*both, *text_only)]
    assert states == ["done", "queued", "queued", "done", "done", "done"]


def test_failed_image_degrades_the_answer_to_the_text(scene: Scene) -> None:
    id_ = scene.add()
    scene.join.on_modality_scored(failed(IMAGE, id_))
    scene.join.on_modality_scored(scored(TEXT, id_))
    job = scene.job(id_)
    assert (job.status, job.error_code) == ("done", None)
    assert job.result is not None
    assert job.result["degraded"] == "image_unreadable"


def test_failed_image_without_text_fails_the_job_with_the_reason(scene: Scene) -> None:
    id_ = scene.add(wants_text=False)
    scene.join.on_modality_scored(failed(IMAGE, id_))
    job = scene.job(id_)
    assert (job.status, job.error_code) == ("failed", "image_unreadable")
    assert job.error_message == "The image is broken"
    assert (job.result, job.prdtypecode) == (None, None)
    assert job.finished_at is not None


def test_deleted_release_fails_its_jobs(scene: Scene) -> None:
    id_ = scene.add(release="99")
    done = scene.add(release="99", status="done")
    scene.join.on_modality_scored(scored(TEXT, id_, done, release="99"))
    assert (scene.job(id_).status, scene.job(id_).error_code) == ("failed", "release_unknown")
    assert scene.job(done).status == "done"


def test_unavailable_registry_raises_and_changes_nothing(scene: Scene) -> None:
    id_ = scene.add(wants_image=False)
    scene.registry.is_down = True
    with pytest.raises(Unavailable):
        scene.join.on_modality_scored(scored(TEXT, id_))
    assert scene.job(id_).status == "queued"


def test_release_with_one_modality_degrades_the_answer_or_fails_the_job(scene: Scene) -> None:
    both, image = scene.add(release="2"), scene.add(release="2", wants_text=False)
    missing = failed(IMAGE, both, image, code="modality_not_in_release", release="2")
    scene.join.on_modality_scored(missing)
    scene.join.on_modality_scored(scored(TEXT, both, release="2"))
    answered, refused = scene.job(both), scene.job(image)
    assert (answered.status, answered.prdtypecode) == ("done", 2583)
    assert answered.result is not None
    assert answered.result["degraded"] == "modality_not_in_release"
    assert (refused.status, refused.error_code) == ("failed", "modality_not_in_release")


def test_final_jobs_are_announced_once(scene: Scene, broker: FakeBroker) -> None:
    both, text, broken = scene.add(), scene.add(wants_image=False), scene.add(wants_image=False)
    scene.join.on_modality_scored(scored(TEXT, both, text))
    assert broker.announced == [text]
    scene.join.on_modality_scored(failed(TEXT, broken))
    scene.join.on_modality_scored(scored(IMAGE, both))
    scene.join.on_modality_scored(scored(IMAGE, both))
    assert broker.announced == [text, broken, both]


def test_answers_of_single_jobs_are_announced_as_they_are_stored(
    scene: Scene, broker: FakeBroker
) -> None:
    both, text, broken = scene.add(), scene.add(wants_image=False), scene.add(wants_image=False)
    scene.join.on_modality_scored(scored(TEXT, both, text))
    scene.join.on_modality_scored(failed(TEXT, broken))
    assert set(broker.answers) == {text, broken}
    for id_ in (text, broken):
        answer, job = JobAnswer.model_validate_json(broker.answers[id_]), scene.job(id_)
        stored = {name: getattr(job, name) for name in JobAnswer.model_fields}
        assert answer.model_dump() == stored


def test_answers_of_a_catalog_are_announced_without_their_content(
    scene: Scene, broker: FakeBroker
) -> None:
    row = scene.add(wants_image=False)
    scene.join.on_modality_scored(scored(TEXT, row).model_copy(update={"lane": Lane.CATALOG}))
    assert (broker.announced, broker.answers) == ([row], {})


def test_jobs_that_cannot_be_answered_are_announced(scene: Scene, broker: FakeBroker) -> None:
    queued, done = scene.add(), scene.add(status="done")
    scene.join.fail([queued, done], Failure(code="any", message="any"))
    assert broker.announced == [queued]


@pytest.mark.parametrize(
    ("wants_image", "expected"),
    [
        (False, ["BEGIN", "SELECT", "INSERT", "UPDATE"]),
        (True, ["BEGIN", "SELECT", "SELECT", "INSERT"]),
    ],
)
def test_join_reads_earlier_scores_only_of_jobs_with_both_modalities(
    scene: Scene, wants_image: bool, expected: list[str]
) -> None:
    id_ = scene.add(wants_image=wants_image)
    statements: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement.split()[0])

    event.listen(scene.unit_of_work.engine, "before_cursor_execute", count)
    scene.join.on_modality_scored(scored(TEXT, id_))
    assert statements == expected


def test_job_of_a_release_with_scales_knows_whether_its_product_is_foreign(
    scene: Scene, folder: Path
) -> None:
    known = np.stack([np.linspace(0.01, 0.2, 100), np.linspace(0.99, 0.8, 100)], axis=1)
    Novelty.fitted({"text": known}).save(folder.parent / "3/fusion")
    describe_release_of_texts(scene, folder, "3")
    sure, torn = (scene.add(wants_image=False, release="3") for _ in range(2))
    for id_, probabilities in ((sure, (0.1, 0.9)), (torn, (0.39, 0.61))):
        item = ModalityScore(job_id=id_, probabilities=probabilities)
        scene.join.on_modality_scored(make_scored(TEXT, "3", (item,)))
    assert [scene.job(id_).is_foreign for id_ in (sure, torn)] == [False, True]
    result = scene.job(torn).result
    assert result is not None
    assert (result["novelty"], result["is_foreign"]) == (1.0, True)


def test_job_of_a_release_without_scales_says_nothing_about_foreign_products(scene: Scene) -> None:
    id_ = scene.add(wants_image=False)
    scene.join.on_modality_scored(scored(TEXT, id_))
    job = scene.job(id_)
    assert job.is_foreign is None
    assert job.result is not None
    assert "novelty" not in job.result


def describe_release_of_texts(scene: Scene, folder: Path, version: str) -> None:
    """Add a release of texts alone, with the categories of another."""
    manifest = ReleaseManifest.read(folder).model_copy(update={"image": None})
    manifest.write(folder.parent / version)
    scene.registry.manifests[version] = manifest
