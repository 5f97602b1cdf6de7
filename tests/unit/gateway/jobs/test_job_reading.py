"""Tests of reading, awaiting, listing, cancelling and labelling jobs."""

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy

from shared.db.models import Job, User, now
from tests.support.factories import make_job
from tests.support.servers import until
from tests.unit.gateway.conftest import Api

RESULT = {
    "category": "Piscine et accessoires",
    "top": [
        {"prdtypecode": 2583, "category": "Piscine et accessoires", "probability": 0.9},
        {"prdtypecode": 10, "category": "Livres", "probability": 0.1},
    ],
    "modalities": {"text": {"prdtypecode": 2583, "confidence": 0.9}},
    "degraded": "image_unreadable: expected an image",
}


@pytest.fixture
def ada(api: Api) -> User:
    """Return the owner of the jobs."""
    return api.user(username="ada")


@pytest.fixture
def hers(api: Api, ada: User) -> dict[str, str]:
    """Return the headers of the owner."""
    return api.sign(ada)


def _finish(api: Api, job_id: str) -> None:
    with api.unit_of_work() as work:
        job = work.session.get_one(Job, job_id)
        job.status, job.finished_at = "done", now()
        job.prdtypecode, job.confidence, job.result = 2583, 0.9, RESULT


def test_answer_has_the_public_shape(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = make_job(ada)
    api.add(job)
    _finish(api, job.id)
    shown = api.client.get(f"/v1/jobs/{job.id}", headers=hers).json()
    assert list(shown) == [
        *("id", "status", "model", "release", "created_at", "finished_at"),
        *("result", "error", "label", "title", "has_image"),
    ]
    # The release has no tree, so that answers of older releases look alike.
    added: dict[str, object] = {
        "prdtypecode": 2583,
        "confidence": 0.9,
        "degraded_message": None,
        "category_path": [],
        "novelty": None,
        "is_foreign": None,
    }
    assert [one.pop("category_path") for one in shown["result"]["top"]] == [[], []]
    assert shown["result"] == {**RESULT, **added}
    assert shown["created_at"].endswith("Z")


def test_failed_job_has_its_error(api: Api, ada: User, hers: dict[str, str]) -> None:
    error = {"error_code": "image_unreadable", "error_message": "Expected an image"}
    job = make_job(ada, status="failed", finished_at=now(), **error)
    api.add(job)
    shown = api.client.get(f"/v1/jobs/{job.id}", headers=hers).json()
    assert shown["error"] == {"code": "image_unreadable", "message": "Expected an image"}
    assert shown["result"] is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "", None), ("DELETE", "", None), ("PUT", "/label", {"prdtypecode": 10})],
)
def test_job_of_another_user_is_404(
    api: Api, ada: User, mine: dict[str, str], method: str, path: str, body: Any
) -> None:
    job = make_job(ada)
    api.add(job)
    theirs = api.client.request(method, f"/v1/jobs/{job.id}{path}", headers=mine, json=body)
    unknown = api.client.request(method, f"/v1/jobs/none{path}", headers=mine, json=body)
    assert theirs.status_code == unknown.status_code == 404
    assert theirs.json()["title"] == unknown.json()["title"]
    kept = api.get(Job, job.id)
    assert kept is not None
    assert (kept.status, kept.label) == ("queued", None)


def test_admin_reads_jobs_of_other_users(api: Api, ada: User, admin: dict[str, str]) -> None:
    job = make_job(ada)
    api.add(job)
    assert api.client.get(f"/v1/jobs/{job.id}", headers=admin).status_code == 200


def test_wait_ends_when_the_job_becomes_final(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = make_job(ada)
    api.add(job)
    answers: list[Any] = []

    def ask() -> None:
        answers.append(api.client.get(f"/v1/jobs/{job.id}?wait=30", headers=hers).json())

    clients = [threading.Thread(target=ask) for _ in range(5)]
    for client in clients:
        client.start()
    until(lambda: {job.id} in api.asked, 10, "a client waits")
    assert answers == []
    _finish(api, job.id)
    for client in clients:
        client.join(10)
    assert [answer["status"] for answer in answers] == ["done"] * 5
    # Without waiting clients, the database is not polled.
    until(lambda: not api.services.long_polls.is_polling, 5, "polling ends")


def test_waiting_clients_are_released_when_the_gateway_stops(
    api: Api, ada: User, hers: dict[str, str]
) -> None:
    job = make_job(ada)
    api.add(job)
    answers: list[Any] = []

    def ask() -> None:
        answers.append(api.client.get(f"/v1/jobs/{job.id}?wait=30", headers=hers))

    client = threading.Thread(target=ask)
    client.start()
    until(lambda: {job.id} in api.asked, 10, "a client waits")
    api.services.long_polls.close()
    client.join(10)
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [
        (200, "queued")
    ]


def test_wait_ends_after_its_time(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = make_job(ada)
    api.add(job)
    started = time.monotonic()
    answer = api.client.get(f"/v1/jobs/{job.id}?wait=0.2", headers=hers)
    assert answer.json()["status"] == "queued"
    assert 0.2 <= time.monotonic() - started < 5


def test_final_job_is_returned_without_waiting(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = make_job(ada, status="cancelled", finished_at=now())
    api.add(job)
    api.client.get(f"/v1/jobs/{job.id}?wait=30", headers=hers)
    assert api.asked == []


@pytest.mark.parametrize("wait", ["31", "-1", "nan", "inf", "soon"])
def test_wait_outside_its_limits_is_422(api: Api, mine: dict[str, str], wait: str) -> None:
    answer = api.client.get("/v1/jobs/none", params={"wait": wait}, headers=mine)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["wait"]


def test_pages_contain_every_own_job_once_newest_first(
    api: Api, ada: User, hers: dict[str, str]
) -> None:
    jobs = [make_job(ada) for _ in range(5)]
    api.add(*jobs, make_job(api.user()))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = api.client.get("/v1/jobs", headers=hers, params=params).json()
        assert len(page["items"]) <= 2
        seen += [job["id"] for job in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted((job.id for job in jobs), reverse=True)


def test_jobs_are_filtered_by_status_and_catalog(api: Api, ada: User, hers: dict[str, str]) -> None:
    queued, cancelled = make_job(ada), make_job(ada, status="cancelled")
    api.add(queued, cancelled)
    found = api.client.get("/v1/jobs?status=cancelled", headers=hers).json()["items"]
    assert [job["id"] for job in found] == [cancelled.id]
    assert api.client.get("/v1/jobs?catalog=none", headers=hers).json()["items"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "lost"), ("limit", "0"), ("limit", "201"), ("cursor", "é"), ("cursor", "AAAA")],
)
def test_bad_query_parameter_is_422_with_the_field(
    api: Api, mine: dict[str, str], field: str, value: str
) -> None:
    answer = api.client.get("/v1/jobs", headers=mine, params={field: value})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_queued_job_is_cancelled(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = make_job(ada)
    api.add(job)
    answer = api.client.delete(f"/v1/jobs/{job.id}", headers=hers)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert answer.json()["finished_at"] is not None
    assert api.broker.announced == [job.id]


def test_cancelling_a_final_job_changes_nothing(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = make_job(ada)
    api.add(job)
    _finish(api, job.id)
    answer = api.client.delete(f"/v1/jobs/{job.id}", headers=hers)
    assert (answer.status_code, answer.json()["status"]) == (200, "done")


def test_label_is_stored(api: Api, ada: User, hers: dict[str, str]) -> None:
    job = make_job(ada)
    api.add(job)
    answer = api.client.put(f"/v1/jobs/{job.id}/label", headers=hers, json={"prdtypecode": 10})
    assert answer.json()["label"] == 10
    shown = api.client.get(f"/v1/jobs/{job.id}", headers=hers).json()
    assert shown["label"] == 10


@pytest.mark.parametrize("body", [{"prdtypecode": 11}, {"prdtypecode": "books"}, {}])
def test_label_outside_the_categories_is_422(
    api: Api, ada: User, hers: dict[str, str], body: dict[str, Any]
) -> None:
    job = make_job(ada)
    api.add(job)
    answer = api.client.put(f"/v1/jobs/{job.id}/label", headers=hers, json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["prdtypecode"]


def test_lease_begins_at_submission(api: Api, mine: dict[str, str]) -> None:
    sent = api.client.post("/v1/jobs", headers=mine, data={"designation": "x"}).json()
    job = api.get(Job, sent["id"])
    assert job is not None
    assert job.leased_until - job.published_at == timedelta(seconds=30)
    assert abs(now() - job.published_at) < timedelta(seconds=10)


@pytest.mark.parametrize("status", ["queued", "failed", "cancelled"])
def test_jobs_of_a_rare_status_are_found_by_an_index(
    api: Api, ada: User, hers: dict[str, str], status: str
) -> None:
    asked: list[tuple[str, Any]] = []
    engine = api.unit_of_work.engine

    def note(_1: Any, _2: Any, statement: str, parameters: Any, _3: Any, _4: Any) -> None:
        asked.append((statement, parameters))

    sqlalchemy.event.listen(engine, "before_cursor_execute", note)
    api.client.get(f"/v1/jobs?status={status}", headers=hers)
    sqlalchemy.event.remove(engine, "before_cursor_execute", note)
    statement, parameters = next(one for one in asked if "FROM jobs" in one[0])
    with engine.connect() as connection:
        plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
    assert "ix_jobs_user_id_status (user_id=? AND status=?)" in plan
    assert "TEMP B-TREE" not in plan
