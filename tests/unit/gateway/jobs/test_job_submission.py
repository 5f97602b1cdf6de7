"""Tests of submitting products."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from shared.contracts import Lane, ScoreImage, ScoreText
from shared.db.models import Job
from shared.errors import Unavailable
from shared.storage import Storage
from tests.support.servers import until
from tests.unit.gateway.conftest import Api

IMAGE = {"image": ("a.jpg", b"not an image", "image/jpeg")}

#: Number of concurrent jobs.
CONCURRENT = 6


def test_text_becomes_a_job_and_one_message(api: Api, mine: dict[str, str]) -> None:
    answer = api.client.post("/v1/jobs", headers=mine, data={"designation": "Piscine"})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["model"], job["release"]) == ("queued", "fusion", "1")
    assert (job["result"], job["error"], job["label"]) == (None, None, None)
    (message,) = api.broker.messages
    assert isinstance(message, ScoreText)
    assert (message.lane, message.release) == (Lane.INTERACTIVE, "1")
    assert [(item.job_id, item.designation) for item in message.items] == [(job["id"], "Piscine")]


def test_text_and_image_are_sent_to_both_workers(api: Api, mine: dict[str, str]) -> None:
    api.client.post("/v1/jobs", headers=mine, data={"description": "x"}, files=IMAGE)
    text, image = api.broker.messages
    assert isinstance(text, ScoreText)
    assert isinstance(image, ScoreImage)
    assert api.services.storage.get(image.items[0].uri) == b"not an image"
    job = api.get(Job, image.items[0].job_id)
    assert job is not None
    assert text.user_id == image.user_id == job.user_id


@pytest.mark.parametrize(("model", "kind"), [("text", ScoreText), ("image", ScoreImage)])
def test_single_modality_is_sent_to_one_worker(
    api: Api, mine: dict[str, str], model: str, kind: type
) -> None:
    data = {"designation": "Piscine", "model": model}
    answer = api.client.post("/v1/jobs", headers=mine, data=data, files=IMAGE)
    assert answer.json()["model"] == model
    assert [type(message) for message in api.broker.messages] == [kind]


def test_trace_of_the_request_continues_in_the_message(api: Api, mine: dict[str, str]) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {**mine, "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    answer = api.client.post("/v1/jobs", headers=headers, data={"designation": "x"})
    assert answer.headers["x-request-id"] == trace
    assert api.broker.messages[0].trace_id == trace
    job = api.get(Job, answer.json()["id"])
    assert job is not None
    assert job.trace_id == trace


def test_concurrent_jobs_share_a_message_and_keep_their_traces(
    api: Api, mine: dict[str, str]
) -> None:
    def send(number: int) -> str:
        trace = {"x-request-id": f"{number:032x}"}
        data = {"designation": f"title {number}", "model": "text"}
        answer = api.client.post("/v1/jobs", headers={**mine, **trace}, data=data)
        assert answer.status_code == 202
        return str(answer.json()["id"])

    with ThreadPoolExecutor(CONCURRENT) as pool, api.unit_of_work() as work:
        # SQLite has one writer: the first request waits for this transaction, the others for the
        # first request.
        work.session.execute(select(1))
        sent = [pool.submit(send, 0)]
        until(lambda: api.is_submitting, 10, "the first request is being stored")
        sent += [pool.submit(send, number) for number in range(1, CONCURRENT)]
        until(lambda: api.waiting == CONCURRENT - 1, 10, "the others wait")
        work.session.commit()
        ids = [one.result() for one in sent]
    messages = [message for message in api.broker.messages if isinstance(message, ScoreText)]
    assert sorted(len(message.items) for message in messages) == [1, CONCURRENT - 1]
    assert {item.job_id for message in messages for item in message.items} == set(ids)
    for message in messages:
        traces = {api.get(Job, item.job_id).trace_id for item in message.items}  # type: ignore[union-attr]
        assert {message.trace_id, *message.links} == traces


def test_concurrent_jobs_of_two_users_share_no_message(api: Api, mine: dict[str, str]) -> None:
    # The queue serves users in turns, so that the jobs of one do not delay the other's.
    theirs = api.sign(api.user(username="bea"))

    def send(headers: dict[str, str]) -> None:
        data = {"designation": "title", "model": "text"}
        assert api.client.post("/v1/jobs", headers=headers, data=data).status_code == 202

    with ThreadPoolExecutor(CONCURRENT) as pool, api.unit_of_work() as work:
        work.session.execute(select(1))
        sent = [pool.submit(send, mine)]
        until(lambda: api.is_submitting, 10, "the first request is being stored")
        sent += [pool.submit(send, (mine, theirs)[number % 2]) for number in range(1, CONCURRENT)]
        until(lambda: api.waiting == CONCURRENT - 1, 10, "the others wait")
        work.session.commit()
        for one in sent:
            one.result()
    messages = [message for message in api.broker.messages if isinstance(message, ScoreText)]
    assert sum(len(message.items) for message in messages) == CONCURRENT
    for message in messages:
        owners = {api.get(Job, item.job_id).user_id for item in message.items}  # type: ignore[union-attr]
        assert owners == {message.user_id}


def test_concurrent_requests_with_one_key_create_one_job(api: Api, mine: dict[str, str]) -> None:
    def send(number: int) -> tuple[int, str | None]:
        headers = {**mine, "Idempotency-Key": "k"} if number else mine
        data = {"designation": "the same", "model": "text"}
        answer = api.client.post("/v1/jobs", headers=headers, data=data)
        return answer.status_code, answer.json().get("id")

    with ThreadPoolExecutor(4) as pool, api.unit_of_work() as work:
        work.session.execute(select(1))
        sent = [pool.submit(send, number) for number in range(4)]
        until(lambda: api.waiting == 3, 10, "three requests wait")
        work.session.commit()
        first, *same = [one.result() for one in sent]
    assert first[0] == 202
    assert len(set(same)) == 1
    assert same[0][0] == 202
    assert len(api.broker.messages) == 2


@pytest.mark.parametrize(
    ("data", "files", "field"),
    [
        ({}, {}, "designation"),
        ({"designation": "  ", "description": "\t"}, {}, "designation"),
        ({}, {"image": ("a.jpg", b"", "image/jpeg")}, "image"),
        ({"model": "text"}, IMAGE, "designation"),
        ({"model": "image", "designation": "x"}, {}, "image"),
        ({"model": "image"}, {"image": ("a.jpg", b"", "image/jpeg")}, "image"),
        ({"designation": "x", "model": "magic"}, {}, "model"),
        ({"designation": "x", "release": "99"}, {}, "release"),
        ({"designation": "x", "release": "../1"}, {}, "release"),
        ({"designation": "x" * 2_001}, {}, "designation"),
        ({"description": "x" * 2_001}, {}, "description"),
        ({"image": "a string, not a file"}, {}, "image"),
    ],
)
def test_bad_input_is_422_with_the_field(
    api: Api, mine: dict[str, str], data: dict[str, str], files: Any, field: str
) -> None:
    answer = api.client.post("/v1/jobs", headers=mine, data=data, files=files)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert api.broker.messages == []
    assert _count(api) == 0


def test_release_is_selected_by_version(api: Api, mine: dict[str, str]) -> None:
    data = {"designation": "x", "release": "2"}
    assert api.client.post("/v1/jobs", headers=mine, data=data).json()["release"] == "2"


def test_image_over_the_limit_is_413(api: Api, mine: dict[str, str]) -> None:
    files = {"image": ("a.jpg", b"x" * 20_001, "image/jpeg")}
    answer = api.client.post("/v1/jobs", headers=mine, files=files)
    assert answer.status_code == 413
    assert answer.json()["errors"][0]["field"] == "image"
    assert _count(api) == 0


def test_full_storage_is_503_and_creates_no_job(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(storage: Storage, folder: str, content: bytes) -> str:
        raise Unavailable("The storage is full")

    monkeypatch.setattr(Storage, "put", refuse)
    answer = api.client.post("/v1/jobs", headers=mine, files=IMAGE)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert _count(api) == 0


def test_job_is_accepted_while_the_queue_is_down(api: Api, mine: dict[str, str]) -> None:
    api.broker.is_down = True
    answer = api.client.post("/v1/jobs", headers=mine, data={"designation": "x"})
    assert answer.status_code == 202
    kept = api.get(Job, answer.json()["id"])
    assert kept is not None
    assert kept.status == "queued"


def test_same_key_and_content_return_the_same_job(api: Api, mine: dict[str, str]) -> None:
    headers = {**mine, "Idempotency-Key": "order-1"}
    first = api.client.post("/v1/jobs", headers=headers, data={"designation": "x"}, files=IMAGE)
    again = api.client.post("/v1/jobs", headers=headers, data={"designation": "x"}, files=IMAGE)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert len(api.broker.messages) == 2
    assert _count(api) == 1


@pytest.mark.parametrize(
    ("data", "files"),
    [
        ({"designation": "y"}, IMAGE),
        ({"designation": "x", "model": "text"}, IMAGE),
        ({"designation": "x"}, {"image": ("a.jpg", b"other", "image/jpeg")}),
        ({"designation": "", "description": "x"}, IMAGE),
    ],
)
def test_same_key_with_other_content_is_409(
    api: Api, mine: dict[str, str], data: dict[str, str], files: Any
) -> None:
    headers = {**mine, "Idempotency-Key": "order-1"}
    api.client.post("/v1/jobs", headers=headers, data={"designation": "x"}, files=IMAGE)
    answer = api.client.post("/v1/jobs", headers=headers, data=data, files=files)
    assert answer.status_code == 409
    assert _count(api) == 1


def test_equal_keys_of_two_users_are_independent(api: Api, mine: dict[str, str]) -> None:
    for headers in (mine, api.sign(api.user())):
        key = {**headers, "Idempotency-Key": "order-1"}
        assert api.client.post("/v1/jobs", headers=key, data={"designation": "x"}).is_success
    assert _count(api) == 2


def test_request_that_loses_a_race_returns_the_same_job(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {**mine, "Idempotency-Key": "order-1"}
    first = api.client.post("/v1/jobs", headers=headers, data={"designation": "x"})
    # Simulate a second request that reads before the first one commits: it finds no key, and its
    # insert then violates the unique constraint.
    find, misses = type(api.services.jobs)._known, iter([True])
    monkeypatch.setattr(
        type(api.services.jobs),
        "_known",
        lambda *args: None if next(misses, False) else find(*args),
    )
    again = api.client.post("/v1/jobs", headers=headers, data={"designation": "x"})
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert _count(api) == 1
    assert len(api.broker.messages) == 1


def _count(api: Api) -> int:
    with api.unit_of_work.reading() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0
