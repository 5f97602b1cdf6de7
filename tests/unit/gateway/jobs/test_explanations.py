"""Explanations: who gets them, when they are requested, and the limits of their number."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.jobs import explanations
from gateway.jobs.submission import IMAGES
from gateway.operations.retention import Retention
from gateway.settings import RetentionSettings
from shared.contracts import ExplainImage, ExplainText, Message
from shared.db.models import Explanation, Job, Role, User, first_id_of, new_id, now
from tests.support.factories import make_job
from tests.unit.gateway.conftest import Api
from tests.unit.gateway.jobs.test_job_reading import RESULT

WORDS = {"designation": [{"text": "Piscine", "effect": 2.5}], "description": []}


@pytest.fixture
def ada(api: Api) -> User:
    return api.user(username="ada")


@pytest.fixture
def hers(api: Api, ada: User) -> dict[str, str]:
    return api.sign(ada)


def done(api: Api, user: User, **changes: object) -> Job:
    """Add a job that was answered by its text."""
    fields = {"status": "done", "prdtypecode": 2583, "confidence": 0.9, "result": RESULT}
    job = make_job(user, **{**fields, **changes})
    api.add(job)
    return job


def with_image(api: Api, user: User) -> Job:
    """Add a job that was answered by its text and its image."""
    modalities = {
        "text": {"prdtypecode": 2583, "confidence": 0.9},
        "image": {"prdtypecode": 2583, "confidence": 0.5},
    }
    uri = api.services.storage.put(IMAGES, b"\xff\xd8\xff an image")
    result = {**RESULT, "modalities": modalities, "degraded": None}
    return done(api, user, image_uri=uri, wants_image=True, result=result)


def finish(api: Api, job: Job, modality: str = "text", **values: Any) -> None:
    """Store an explanation as fusion does."""
    changes = {"status": "done", "probability": 0.9, "content": WORDS, "finished_at": now()}
    with api.unit_of_work() as work:
        work.session.execute(
            update(Explanation)
            .where(Explanation.job_id == job.id, Explanation.modality == modality)
            .values(**{**changes, **values})
        )


def address(job: Job, wait: float = 0) -> str:
    return f"/v1/jobs/{job.id}/explanation?wait={wait}"


def kinds(messages: Sequence[Message]) -> list[type[Message]]:
    return [type(message) for message in messages]


def test_first_request_asks_the_workers_and_later_ones_do_not(
    api: Api, ada: User, hers: dict[str, str]
) -> None:
    job = with_image(api, ada)
    for _ in range(3):
        shown = api.client.get(address(job), headers=hers)
        assert (shown.status_code, shown.json()["status"]) == (200, "queued")
    image, text = sorted(api.broker.messages, key=lambda message: message.topic)
    assert isinstance(text, ExplainText)
    assert isinstance(image, ExplainImage)
    assert (text.queue, image.queue) == ("text.interactive", "image.interactive")
    (item,) = text.items
    assert (item.job_id, item.designation, item.prdtypecode) == (job.id, job.designation, 2583)
    assert (image.items[0].uri, image.items[0].prdtypecode) == (job.image_uri, 2583)
    assert text.release == image.release == job.release
    finish(api, job)
    assert api.client.get(address(job), headers=hers).json()["status"] == "queued"
    finish(api, job, "image", content={"grid": [[0.5, -0.5], [0.1, 0.2]]}, probability=0.4)
    shown = api.client.get(address(job), headers=hers).json()
    assert (shown["status"], shown["category"], shown["prdtypecode"]) == (
        "done",
        "Piscine et accessoires",
        2583,
    )
    assert shown["text"] == {"status": "done", "probability": 0.9, "error": None, **WORDS}
    assert shown["image"]["grid"] == [[0.5, -0.5], [0.1, 0.2]]
    assert len(api.broker.messages) == 2


def test_degraded_answer_is_explained_by_what_it_uses(
    api: Api, ada: User, hers: dict[str, str]
) -> None:
    job = done(api, ada, image_uri="pictures/aa/aa", wants_image=True)
    assert api.client.get(address(job), headers=hers).json()["image"] is None
    assert kinds(api.broker.messages) == [ExplainText]


def test_wait_ends_with_the_explanation(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = done(api, ada)
    api.client.get(address(job), headers=hers)
    finish(api, job)
    # A time that would fail the test, if it were waited for.
    assert api.client.get(address(job, 30), headers=hers).json()["status"] == "done"
    other = done(api, ada)
    assert api.client.get(address(other, 0.2), headers=hers).json()["status"] == "queued"


@pytest.mark.parametrize("status", ["queued", "failed", "cancelled"])
def test_job_without_an_answer_is_409(
    api: Api, ada: User, hers: dict[str, str], status: str
) -> None:
    job = make_job(ada, status=status)
    api.add(job)
    answer = api.client.get(address(job), headers=hers)
    assert answer.status_code == 409
    assert status in answer.json()["detail"]
    assert api.broker.messages == []


def test_deleted_product_is_404(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = done(api, ada, designation="", description="")
    answer = api.client.get(address(job), headers=hers)
    assert answer.status_code == 404
    assert "deleted" in answer.json()["detail"]


def test_explanation_of_another_user_is_404(
    api: Api, ada: User, hers: dict[str, str], mine: dict[str, str], admin: dict[str, str]
) -> None:
    job = done(api, ada)
    assert api.client.get(address(job), headers=mine).status_code == 404
    assert api.broker.messages == []
    assert api.client.get(address(job), headers=admin).status_code == 200


def test_user_has_few_explanations_in_progress(api: Api, ada: User, hers: dict[str, str]) -> None:
    jobs = [done(api, ada) for _ in range(3)]
    codes = [api.client.get(address(job), headers=hers).status_code for job in jobs]
    assert codes == [200, 200, 429]
    refused = api.client.get(address(jobs[2]), headers=hers)
    assert refused.headers["retry-after"] == str(explanations.RETRY_SECONDS)
    # Explanations in progress can still be read, and room is made when one of them ends.
    assert api.client.get(address(jobs[0]), headers=hers).status_code == 200
    finish(api, jobs[0])
    assert api.client.get(address(jobs[2]), headers=hers).status_code == 200


def test_all_users_together_have_few_in_progress(api: Api) -> None:
    users = [api.user() for _ in range(4)]
    codes = [
        api.client.get(address(done(api, user)), headers=api.sign(user)).status_code
        for user in users
    ]
    assert codes == [200, 200, 200, 503]


def test_queue_that_is_down_is_503_and_the_next_request_begins_again(
    api: Api, ada: User, hers: dict[str, str]
) -> None:
    job = done(api, ada)
    api.broker.is_down = True
    assert api.client.get(address(job), headers=hers).status_code == 503
    api.broker.is_down = False
    assert api.client.get(address(job), headers=hers).json()["status"] == "queued"
    assert kinds(api.broker.messages) == [ExplainText]


def test_lost_explanation_is_requested_again(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = done(api, ada)
    api.client.get(address(job), headers=hers)
    with api.unit_of_work() as work:
        past = now() - timedelta(seconds=1)
        work.session.execute(update(Explanation).values(expires_at=past))
    assert api.client.get(address(job), headers=hers).json()["status"] == "queued"
    assert len(api.broker.messages) == 2


def test_failed_explanation_is_shown_and_tried_again_a_minute_later(
    api: Api, ada: User, hers: dict[str, str]
) -> None:
    job = done(api, ada)
    api.client.get(address(job), headers=hers)
    failed: dict[str, Any] = {"status": "failed", "content": None, "probability": None}
    failure = {"error_code": "explanation_expired", "error_message": "The workers were too busy"}
    finish(api, job, **failed, **failure)
    shown = api.client.get(address(job), headers=hers).json()
    assert shown["status"] == shown["text"]["status"] == "failed"
    assert shown["text"]["error"] == {
        "code": "explanation_expired",
        "message": "The workers were too busy",
    }
    finish(api, job, **failed, finished_at=now() - timedelta(seconds=61))
    again = api.client.get(address(job), headers=hers).json()
    assert (again["status"], again["text"]["error"]) == ("queued", None)
    assert len(api.broker.messages) == 2


@pytest.mark.parametrize("keep_results", [True, False])
def test_retention_deletes_explanations_with_their_product(
    api: Api, hers: dict[str, str], ada: User, keep_results: bool
) -> None:
    moment = now() - timedelta(days=40)
    api.user(Role.ADMIN, id=first_id_of(moment)[:13] + new_id()[13:], created_at=moment)
    old = done(api, ada, id=first_id_of(moment)[:13] + new_id()[13:], created_at=moment)
    young = done(api, ada)
    for job in (old, young):
        api.client.get(address(job), headers=hers)
    settings = RetentionSettings(job_days=30, keep_results=keep_results)
    Retention(api.unit_of_work, api.services.storage, settings).clean()
    with api.unit_of_work.reading() as session:
        assert session.scalars(select(Explanation.job_id)).all() == [young.id]
    assert api.client.get(address(old), headers=hers).status_code == 404
