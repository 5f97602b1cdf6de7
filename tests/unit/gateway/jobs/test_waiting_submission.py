"""Tests of submissions that wait for the answer (`Prefer: wait`)."""

import base64
import gc
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.datastructures import UploadFile

from gateway.api.submission import route
from gateway.api.submission.acceptance import Sent
from gateway.jobs import long_poll
from gateway.jobs.long_poll import LongPolls, OnFinal
from shared import metrics
from shared.contracts import JobAnswer
from shared.db.models import Job, now
from shared.errors import Unavailable
from tests.support.servers import until
from tests.unit.gateway.conftest import Api

FORM = {"designation": "Piscine gonflable"}
RESULT = {
    "category": "Piscine et accessoires",
    "top": [{"prdtypecode": 2583, "category": "Piscine et accessoires", "probability": 0.9}],
    "modalities": {"text": {"prdtypecode": 2583, "confidence": 0.9}},
    "degraded": None,
}


def _finish(api: Api, job_id: str) -> None:
    with api.unit_of_work() as work:
        job = work.session.get_one(Job, job_id)
        job.status, job.finished_at = "done", now()
        job.prdtypecode, job.confidence, job.result = 2583, 0.9, RESULT


def _waiting(api: Api) -> str:
    """Return the ID of the job for which a client waits."""
    until(lambda: any(api.asked), 10, "a client waits")
    return next(iter(api.asked[-1]))


def _submitted(
    api: Api, headers: dict[str, str], **body: Any
) -> tuple[threading.Thread, list[Any]]:
    responses: list[Any] = []
    body = body or {"data": FORM}
    client = threading.Thread(
        target=lambda: responses.append(api.client.post("/v1/jobs", headers=headers, **body))
    )
    client.start()
    return client, responses


@pytest.mark.parametrize("body", [{"data": FORM}, {"json": FORM}])
def test_answer_that_comes_in_time_is_in_the_response(
    api: Api, mine: dict[str, str], body: dict[str, Any]
) -> None:
    client, responses = _submitted(api, mine | {"Prefer": "wait=30"}, **body)
    job_id = _waiting(api)
    assert not responses
    _finish(api, job_id)
    client.join(10)
    (response,) = responses
    assert response.status_code == 201
    assert response.headers["Location"] == f"/v1/jobs/{job_id}"
    assert response.headers["Preference-Applied"] == "wait=30"
    assert response.json()["result"]["prdtypecode"] == 2583
    assert response.json() == api.client.get(f"/v1/jobs/{job_id}", headers=mine).json()


class Announcer:
    """Source of announcements that a test makes."""

    listening_seconds = 60.0

    def __init__(self, api: Api) -> None:
        self.on_final: OnFinal = lambda _answers: None
        api.services.long_polls.listen(self._connect)

    def _connect(self, on_final: OnFinal) -> "Announcer":
        self.on_final = on_final
        return self

    def start(self) -> None:
        """Start nothing: the test announces."""


def _the_job(api: Api) -> Job:
    """Return the only job, once its client waits."""
    until(lambda: api.services.long_polls.is_polling, 10, "a client waits")
    with api.unit_of_work.reading() as session:
        return session.scalars(select(Job)).one()


def _fail(api: Api, job_id: str) -> None:
    with api.unit_of_work() as work:
        job = work.session.get_one(Job, job_id)
        job.status, job.finished_at = "failed", now()
        job.error_code, job.error_message = "release_unknown", "No release 1"


@pytest.mark.parametrize("end", [_finish, _fail])
def test_announced_answer_is_in_the_response_and_not_read_again(
    api: Api,
    mine: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[Api, str], None],
) -> None:
    announcer = Announcer(api)
    monkeypatch.setattr(long_poll, "HEARD_POLL_SECONDS", 60.0)
    monkeypatch.setattr(route, "read_all", None)
    client, responses = _submitted(api, mine | {"Prefer": "wait=30"})
    job_id = _the_job(api).id
    end(api, job_id)
    answer = JobAnswer.model_validate(_the_job(api), from_attributes=True)
    announcer.on_final({job_id: answer.model_dump_json()})
    client.join(10)
    (response,) = responses
    assert response.status_code == 201
    assert response.json() == api.client.get(f"/v1/jobs/{job_id}", headers=mine).json()


@pytest.mark.parametrize(
    "announced",
    [
        None,
        "no JSON",
        '{"status": "done"}',
        '{"status": "done", "finished_at": "2026-01-05T10:00:00Z"}',
        '{"status": "failed", "finished_at": "2026-01-05T10:00:00Z"}',
        '{"status": "of a later version", "finished_at": "2026-01-05T10:00:00Z"}',
        '{"status": "done", "finished_at": "2026-01-05T10:00:00Z", "result": {"top": 1}}',
    ],
)
def test_answer_is_read_where_the_announcement_has_none_that_is_readable(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch, announced: str | None
) -> None:
    monkeypatch.setattr(long_poll, "HEARD_POLL_SECONDS", 60.0)
    announcer = Announcer(api)
    client, responses = _submitted(api, mine | {"Prefer": "wait=30"})
    job_id = _the_job(api).id
    _finish(api, job_id)
    announcer.on_final({job_id: announced})
    client.join(10)
    (response,) = responses
    assert response.status_code == 201
    assert response.json()["result"]["prdtypecode"] == 2583


def test_late_answer_leaves_a_queued_job(api: Api, mine: dict[str, str]) -> None:
    response = api.client.post("/v1/jobs", data=FORM, headers=mine | {"Prefer": "wait=0.05"})
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert response.headers["Preference-Applied"] == "wait=0.05"


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "respond-async"}, {"Prefer": "wait=0"}])
def test_response_without_a_wait_comes_at_once(
    api: Api, mine: dict[str, str], prefer: dict[str, str]
) -> None:
    response = api.client.post("/v1/jobs", data=FORM, headers=mine | prefer)
    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers
    assert api.asked == []


def test_repeated_submission_returns_the_answer(api: Api, mine: dict[str, str]) -> None:
    headers = mine | {"Idempotency-Key": "once", "Prefer": "wait=5"}
    first = api.client.post("/v1/jobs", data=FORM, headers=mine | {"Idempotency-Key": "once"})
    _finish(api, first.json()["id"])
    again = api.client.post("/v1/jobs", data=FORM, headers=headers)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert api.asked == []


@pytest.mark.parametrize("is_closed", [False, True])
def test_without_room_to_wait_the_job_is_accepted_at_once(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch, is_closed: bool
) -> None:
    polls = LongPolls(lambda _ids: set(), most=9 if is_closed else 0)
    if is_closed:
        polls.close()
    state = cast(FastAPI, api.client.app).state
    monkeypatch.setattr(state, "services", replace(api.services, long_polls=polls))
    response = api.client.post("/v1/jobs", data=FORM, headers=mine | {"Prefer": "wait=5"})
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert "Preference-Applied" not in response.headers
    assert api.get(Job, response.json()["id"]) is not None


def test_waiting_client_is_released_when_the_gateway_stops(api: Api, mine: dict[str, str]) -> None:
    client, responses = _submitted(api, mine | {"Prefer": "wait=30"})
    _waiting(api)
    api.services.long_polls.close()
    client.join(10)
    assert [one.status_code for one in responses] == [202]


def test_job_stays_accepted_if_the_database_goes_away_meanwhile(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise Unavailable("The database does not answer")

    monkeypatch.setattr(api.services.long_polls, "until_final", fail)
    response = api.client.post("/v1/jobs", data=FORM, headers=mine | {"Prefer": "wait=5"})
    assert (response.status_code, response.json()["status"]) == (202, "queued")


def test_wait_is_not_part_of_the_measured_time(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[float] = []

    class Histogram:
        def labels(self, *_: object) -> "Histogram":
            return self

        def observe(self, seconds: float) -> None:
            measured.append(seconds)

    monkeypatch.setattr(metrics, "request_seconds", Histogram())
    response = api.client.post("/v1/jobs", data=FORM, headers=mine | {"Prefer": "wait=1.5"})
    assert response.status_code == 202
    (seconds,) = measured
    assert 0 < seconds < 1.5


IMAGE = b"\xff\xd8" + b"x" * 5_000
BODIES: dict[str, dict[str, Any]] = {
    "form": {"data": FORM, "files": {"image": ("piscine.jpg", IMAGE)}},
    "form-without-image": {"data": FORM},
    "json": {"json": {**FORM, "image": base64.b64encode(IMAGE).decode()}},
    "json-without-image": {"json": FORM},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_body_is_freed_while_its_client_waits(
    api: Api, mine: dict[str, str], body: dict[str, Any]
) -> None:
    client, _ = _submitted(api, mine | {"Prefer": "wait=30"}, **body)
    job_id = _waiting(api)
    gc.collect()
    kept = gc.get_objects()
    assert [one for one in kept if isinstance(one, Sent)] == []
    assert [one for one in kept if isinstance(one, UploadFile) and not one.file.closed] == []
    _finish(api, job_id)
    client.join(10)
