"""Tests of the routes for operators: queues, dead letters, training and health."""

from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from gateway.web.draining import Draining
from shared.broker import Worker
from shared.contracts import (
    ImageItem,
    Lane,
    MakeThumbnails,
    ScoreImage,
    ScoreText,
    TextItem,
    TrainingRequested,
)
from shared.db.models import (
    DatasetVersion,
    DeadLetter,
    Job,
    Role,
    Score,
    TrainingRun,
    User,
    new_id,
    now,
    row_job_id,
)
from shared.storage import Storage
from tests.support.factories import make_catalog, make_job
from tests.unit.gateway.conftest import LEASE_SECONDS, Api


@pytest.fixture
def operator(api: Api) -> dict[str, str]:
    """Return the headers of an operator."""
    return api.sign(api.user(Role.OPERATOR, username="otto"))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/queues"),
        ("GET", "/v1/dead-letters"),
        ("GET", "/v1/dead-letters/none"),
        ("POST", "/v1/dead-letters/none/replay"),
        ("DELETE", "/v1/dead-letters/none"),
        ("GET", "/v1/training-runs"),
        ("POST", "/v1/training-runs"),
        ("DELETE", "/v1/training-runs/none"),
    ],
)
def test_clients_have_no_access_to_operations(
    api: Api, mine: dict[str, str], method: str, path: str
) -> None:
    body = {"reason": "x"} if path.endswith("runs") and method == "POST" else None
    assert api.client.request(method, path, json=body).status_code == 401
    assert api.client.request(method, path, headers=mine, json=body).status_code == 403


def test_queues_workers_and_queued_jobs_are_shown(api: Api, operator: dict[str, str]) -> None:
    ada = api.user()
    api.add(make_job(ada), make_job(ada, status="done"))
    api.broker.heads = {"text.catalog": now().timestamp() - 60}
    api.broker.present = [Worker("text@a", ("text.catalog",), ("1",), 1, 7, 0.5)]
    shown = api.client.get("/v1/queues", headers=operator).json()
    by_name = {queue["queue"]: queue for queue in shown["items"]}
    assert by_name["text.catalog"]["waiting"] == 1
    assert 59 < by_name["text.catalog"]["oldest_seconds"] < 120
    assert by_name["image.interactive"]["oldest_seconds"] is None
    assert shown["jobs_queued"] == 1
    assert shown["workers"][0]["releases"] == ["1"]
    assert shown["workers"][0]["seconds_since_consumed"] == 0.5


def test_release_that_a_worker_cannot_load_is_shown(api: Api, operator: dict[str, str]) -> None:
    reason = "The registry's copy of release 2 is broken"
    api.broker.present = [
        Worker("text@a", ("text.interactive",), ("1",), 0, 0, 0.5, unloadable={"2": reason})
    ]
    (worker,) = api.client.get("/v1/queues", headers=operator).json()["workers"]
    assert (worker["releases"], worker["unloadable"]) == (["1"], {"2": reason})
    checked = api.client.get("/readyz")
    assert checked.status_code == 200
    assert "release 2 cannot be loaded by text" in checked.json()["checks"]["workers"]
    # Anybody may read this, so the host and the reason are left out
    assert "@a" not in checked.text
    assert reason not in checked.text


def test_queue_has_its_station_lane_and_workers(api: Api, operator: dict[str, str]) -> None:
    api.broker.running = {"text.catalog": 3, "monitoring": 1}
    api.broker.heads = {"text.catalog": now().timestamp() - 60}
    api.broker.present = [
        Worker("text@a", ("text.interactive", "text.catalog"), (), 3, 7, 0.5, 0.5),
        Worker("text@b", ("text.catalog",), (), 0, 7, 500.0, 400.0),
    ]
    shown = api.client.get("/v1/queues", headers=operator).json()
    by_name = {queue["queue"]: queue for queue in shown["items"]}
    catalog, training = by_name["text.catalog"], by_name["training"]
    assert (catalog["station"], catalog["lane"]) == ("text", "catalog")
    assert (catalog["workers"], catalog["workers_proven"]) == (2, 1)
    assert (training["station"], training["lane"], training["workers"]) == ("training", None, 0)
    totals = shown["totals"]
    assert (totals["waiting"], totals["running"], totals["workers_proven"]) == (1, 4, 1)
    assert totals["oldest_seconds"] == pytest.approx(60, abs=30)
    assert [worker["state"] for worker in shown["workers"]] == ["working", "deaf"]


def test_queued_jobs_are_counted_by_lane_in_the_database(
    api: Api, operator: dict[str, str]
) -> None:
    ada = api.user()
    early = now() - timedelta(minutes=10)
    api.add(make_job(ada), make_job(ada, created_at=early), make_job(ada, status="cancelled"))
    api.add(make_catalog(ada, status="running", rows=100, rejected=10, fed=30))
    api.add(make_catalog(ada, status="finished", rows=5, fed=4))
    shown = api.client.get("/v1/queues", headers=operator).json()
    interactive, catalog = shown["jobs"]
    assert (interactive["lane"], interactive["queued"]) == ("interactive", 2)
    assert interactive["oldest_seconds"] == pytest.approx(600, abs=60)
    assert (catalog["lane"], catalog["queued"], catalog["oldest_seconds"]) == ("catalog", 0, None)
    assert (shown["jobs_queued"], shown["rows_to_feed"]) == (2, 60)


def test_training_runs_and_datasets_are_counted_by_their_rows(
    api: Api, operator: dict[str, str]
) -> None:
    # Given messages that the trainer acknowledged when it woke up, and rows that it works through
    early = now() - timedelta(minutes=10)
    wanted = {"requested_by": "ada", "reason": "new categories"}
    held = {"leased_until": now() + timedelta(minutes=1)}
    api.add(TrainingRun(status="running", **held, **wanted))
    api.add(TrainingRun(status="finished", **wanted), TrainingRun(**wanted))
    api.add(TrainingRun(requested_at=early, **wanted))
    versions: list[dict[str, Any]] = [{"status": "ready"}, held, {"created_at": early}]
    for number, more in enumerate(versions, start=1):
        sent = {"name": f"shop{number}", "version": 1, "created_by": "ada", "asked": {}}
        api.add(DatasetVersion(**sent, **more))
    shown = api.client.get("/v1/queues", headers=operator).json()
    by_name = {queue["queue"]: queue for queue in shown["items"]}
    training, datasets = by_name["training"], by_name["datasets"]
    assert (training["waiting"], training["running"]) == (2, 1)
    assert (datasets["waiting"], datasets["running"]) == (1, 1)
    for queue in (training, datasets, shown["totals"]):
        assert queue["oldest_seconds"] == pytest.approx(600, abs=60)
    assert (shown["totals"]["waiting"], shown["totals"]["running"]) == (3, 2)


def test_training_run_of_a_dead_trainer_waits(api: Api, operator: dict[str, str]) -> None:
    early = now() - timedelta(minutes=10)
    run = {"requested_by": "ada", "reason": "drift", "status": "running", "leased_until": early}
    api.add(TrainingRun(**run))
    shown = api.client.get("/v1/queues", headers=operator).json()
    by_name = {queue["queue"]: queue for queue in shown["items"]}
    assert (by_name["training"]["waiting"], by_name["training"]["running"]) == (1, 0)


def test_queues_are_503_while_redis_is_down(api: Api, operator: dict[str, str]) -> None:
    api.broker.is_down = True
    assert api.client.get("/v1/queues", headers=operator).status_code == 503


def _letter(*jobs: Job, number: int = 0) -> DeadLetter:
    message = ScoreText(
        trace_id="a" * 32,
        lane=Lane.INTERACTIVE,
        release="1",
        items=tuple(TextItem(job_id=job.id, designation="x", description="") for job in jobs),
    )
    return DeadLetter(
        topic=message.topic,
        payload=message.model_dump(mode="json"),
        fingerprint=f"{number:064}",
        error="given up after 4 deliveries",
        deliveries=4,
        parked_at=now(),
    )


def _failed(ada: User, **changes: Any) -> Job:
    error = {"error_code": "message_parked", "error_message": "given up"}
    return make_job(ada, status="failed", finished_at=now(), attempts=8, **error, **changes)


def _failure(job: Job, modality: str = "text") -> Score:
    return Score(job_id=job.id, modality=modality, release="1", error_code="message_parked")


def test_replay_sends_the_message_and_queues_its_failed_jobs(
    api: Api, operator: dict[str, str]
) -> None:
    # Given a dead letter of a failed job, a job with a degraded answer, and a cancelled job
    ada = api.user()
    failed, degraded = _failed(ada), make_job(ada, status="done", finished_at=now())
    cancelled = make_job(ada, status="cancelled")
    api.add(failed, degraded, cancelled)
    api.add(_failure(failed), _failure(degraded))
    letter = _letter(failed, degraded, cancelled)
    api.add(letter)

    # When it is replayed
    answer = api.client.post(f"/v1/dead-letters/{letter.id}/replay", headers=operator)

    # I expect the message in the queue, the failed job queued with a lease, and the others
    # unchanged
    assert answer.status_code == 202
    assert [message.model_dump(mode="json") for message in api.broker.messages] == [letter.payload]
    again = api.get(Job, failed.id)
    assert again is not None
    assert (again.status, again.error_code, again.finished_at) == ("queued", None, None)
    assert (again.attempts, again.leased_until > now()) == (0, True)
    assert (again.leased_until - again.published_at).total_seconds() == pytest.approx(
        LEASE_SECONDS, abs=1
    )
    assert api.get(Score, (failed.id, "text")) is None
    assert api.get(Score, (degraded.id, "text")) is not None
    for job, status in ((degraded, "done"), (cancelled, "cancelled")):
        kept = api.get(Job, job.id)
        assert kept is not None
        assert kept.status == status
    assert api.get(DeadLetter, letter.id) is None


def test_replay_keeps_the_score_of_the_other_modality(api: Api, operator: dict[str, str]) -> None:
    job = _failed(api.user(), wants_image=True, image_uri="images/aa/aa")
    api.add(job)
    api.add(_failure(job), _failure(job, "image"))
    letter = _letter(job)
    api.add(letter)
    api.client.post(f"/v1/dead-letters/{letter.id}/replay", headers=operator)
    assert api.get(Score, (job.id, "image")) is not None
    assert not any(isinstance(message, ScoreImage) for message in api.broker.messages)


def test_replay_of_a_thumbnail_leaves_its_failed_job(api: Api, operator: dict[str, str]) -> None:
    job = _failed(api.user(), wants_image=True, image_uri="images/aa/aa")
    message = MakeThumbnails(
        trace_id="a" * 32,
        lane=Lane.INTERACTIVE,
        items=(ImageItem(job_id=job.id, uri="images/aa/aa"),),
        pixels=96,
    )
    letter = _letter()
    letter.topic, letter.payload = message.topic, message.model_dump(mode="json")
    api.add(job, letter)
    answer = api.client.post(f"/v1/dead-letters/{letter.id}/replay", headers=operator)
    assert answer.status_code == 202
    assert api.broker.messages == [message]
    kept = api.get(Job, job.id)
    assert kept is not None
    assert kept.status == "failed"


def test_dead_letter_can_be_discarded(api: Api, operator: dict[str, str]) -> None:
    letter = _letter()
    api.add(letter)
    path = f"/v1/dead-letters/{letter.id}"
    assert api.client.delete(path, headers=operator).status_code == 204
    assert api.client.delete(path, headers=operator).status_code == 404
    assert api.client.post(f"{path}/replay", headers=operator).status_code == 404


def test_pages_contain_every_dead_letter_once(api: Api, operator: dict[str, str]) -> None:
    for number in range(3):
        api.add(_letter(number=number))
    first = api.client.get("/v1/dead-letters?limit=2", headers=operator).json()
    rest = api.client.get(
        "/v1/dead-letters", params={"cursor": first["next_cursor"]}, headers=operator
    ).json()
    ids = [letter["id"] for letter in (*first["items"], *rest["items"])]
    assert ids == sorted(set(ids), reverse=True)
    assert (len(ids), rest["next_cursor"]) == (3, None)


def test_dead_letters_of_one_topic_are_listed(api: Api, operator: dict[str, str]) -> None:
    other = _letter(number=1)
    other.topic = "modality_scored"
    other.payload = {**other.payload, "modality": "text"}
    api.add(_letter(number=2), other)
    query = {"topic": "modality_scored"}
    found = api.client.get("/v1/dead-letters", params=query, headers=operator).json()["items"]
    assert [letter["id"] for letter in found] == [other.id]


def test_dead_letter_has_its_jobs_and_catalog(api: Api, operator: dict[str, str]) -> None:
    ada = api.user()
    catalog = make_catalog(ada)
    api.add(catalog)
    jobs = [
        make_job(ada, id=row_job_id(catalog.id, row), catalog_id=catalog.id, status=status)
        for row, status in enumerate(("failed", "failed", "done"), start=1)
    ]
    api.add(*jobs)
    letter, single = _letter(*jobs), _letter(make_job(ada), number=1)
    api.add(letter, single)
    shown = api.client.get(f"/v1/dead-letters/{letter.id}", headers=operator).json()
    assert shown["job_ids"] == [job.id for job in jobs]
    assert (shown["catalog_id"], shown["release"]) == (catalog.id, "1")
    assert (shown["lane"], shown["deliveries"]) == ("interactive", 4)
    assert shown["jobs"] == {"failed": 2, "done": 1}
    assert shown["payload"] == letter.payload
    listed = api.client.get("/v1/dead-letters", headers=operator).json()["items"]
    assert {one["id"]: one["catalog_id"] for one in listed} == {
        letter.id: catalog.id,
        single.id: None,
    }
    assert api.client.get("/v1/dead-letters/none", headers=operator).status_code == 404


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("score_sound", "This version has no message type 'score_sound'"),
        ("score_text", "Its content is not a valid 'score_text' message of this version"),
    ],
)
def test_unreadable_dead_letter_is_listed_and_can_only_be_discarded(
    api: Api, operator: dict[str, str], topic: str, why: str
) -> None:
    job = make_job(api.user())
    letter, unread = _letter(job), _letter(number=1)
    unread.topic, unread.payload = topic, {"is": "of another version"}
    api.add(job, letter, unread)
    path = f"/v1/dead-letters/{unread.id}"
    listed = api.client.get("/v1/dead-letters", headers=operator).json()["items"]
    assert {one["id"]: one["job_ids"] for one in listed} == {letter.id: [job.id], unread.id: []}
    shown = api.client.get(path, headers=operator).json()
    assert (shown["topic"], shown["payload"], shown["jobs"]) == (topic, unread.payload, {})
    assert (shown["catalog_id"], shown["release"], shown["lane"]) == (None, None, None)
    refused = api.client.post(f"{path}/replay", headers=operator)
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        f"{why}, so it cannot be replayed, only discarded",
    )
    assert api.broker.messages == []
    assert api.client.delete(path, headers=operator).status_code == 204


def test_training_run_is_requested_and_followed(api: Api, operator: dict[str, str]) -> None:
    answer = api.client.post("/v1/training-runs", headers=operator, json={"reason": "drift"})
    assert answer.status_code == 202
    run_id = answer.json()["id"]
    assert answer.headers["location"] == f"/v1/training-runs/{run_id}"
    (message,) = api.broker.messages
    assert isinstance(message, TrainingRequested)
    assert (message.run_id, message.requested_by) == (run_id, "otto")
    with api.unit_of_work() as work:
        work.session.get_one(TrainingRun, run_id).status = "running"
    shown = api.client.get(f"/v1/training-runs/{run_id}", headers=operator).json()
    assert (shown["status"], shown["reason"]) == ("running", "drift")
    listed = api.client.get("/v1/training-runs", headers=operator).json()["items"]
    assert [run["id"] for run in listed] == [run_id]
    assert api.client.get("/v1/training-runs/none", headers=operator).status_code == 404


def test_running_training_has_its_progress(api: Api, operator: dict[str, str]) -> None:
    progress = {"step": "text_rnn fit", "done": 3, "of": 14, "at": "2026-01-05T10:00:00Z"}
    run = TrainingRun(
        id=new_id(), requested_by="otto", reason="drift", status="running", attempts=2
    )
    run.progress, run.log_tail = progress, "epoch 3"
    api.add(run)
    shown = api.client.get(f"/v1/training-runs/{run.id}", headers=operator).json()
    assert (shown["step"], shown["progress"], shown["attempts"]) == ("text_rnn fit", progress, 2)
    assert (shown["log_tail"], shown["verdict"], shown["dataset"]) == ("epoch 3", None, None)


@pytest.mark.parametrize(
    ("status", "after", "is_asked"),
    [
        ("queued", "cancelled", False),
        ("running", "running", True),
        ("finished", "finished", False),
        ("failed", "failed", False),
        ("cancelled", "cancelled", False),
    ],
)
def test_queued_training_is_cancelled_at_once_and_a_running_one_on_request(
    api: Api, operator: dict[str, str], status: str, after: str, is_asked: bool
) -> None:
    run = TrainingRun(id=new_id(), requested_by="otto", reason="drift", status=status)
    api.add(run)
    answers = [api.client.delete(f"/v1/training-runs/{run.id}", headers=operator) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["status"] == after
    assert (answers[0].json()["cancel_requested_at"] is not None) is is_asked
    assert answers[1].json() == answers[0].json()
    assert api.client.delete("/v1/training-runs/none", headers=operator).status_code == 404


def test_training_from_an_unknown_dataset_is_refused(api: Api, operator: dict[str, str]) -> None:
    wanted = {"reason": "drift", "dataset": "nowhere@3"}
    answer = api.client.post("/v1/training-runs", headers=operator, json=wanted)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "dataset"
    assert api.broker.messages == []


def test_gateway_is_ready_while_redis_is_down_and_reports_it(api: Api) -> None:
    assert api.client.get("/readyz").json()["checks"]["database"] == "ok"
    api.broker.is_down = True
    answer = api.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["checks"]["queue"] == "does not answer; jobs are kept and wait"


def test_gateway_is_ready_while_the_disk_of_the_storage_is_full_and_reports_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Storage, "free_bytes", lambda _storage: 0)
    monkeypatch.setattr(api.services.storage, "min_free_bytes", 1024)
    answer = api.client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["checks"]["storage"].startswith("The storage is almost full")


def migrate_to(api: Api, revision: str) -> None:
    with api.unit_of_work() as work:
        work.session.connection().exec_driver_sql(
            f"UPDATE alembic_version SET version_num = '{revision}'"
        )


def test_gateway_is_not_ready_on_an_older_migration(api: Api) -> None:
    migrate_to(api, "0001")
    answer = api.client.get("/readyz")
    assert answer.status_code == 503
    assert "0001" in answer.json()["checks"]["database"]


def test_gateway_is_ready_on_the_migration_of_a_newer_version(api: Api) -> None:
    migrate_to(api, "9999")
    assert api.client.get("/readyz").status_code == 200


def test_draining_gateway_is_not_ready_and_still_responds(api: Api, mine: dict[str, str]) -> None:
    stopped: list[bool] = []
    api.services.draining.seconds = 60
    api.services.draining.begin(lambda: stopped.append(True))
    answer = api.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["gateway"] == "is stopping"
    answer = api.client.get("/v1/jobs", headers=mine)
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"
    assert stopped == []


def test_second_signal_stops_the_gateway_at_once() -> None:
    stopped: list[bool] = []
    draining = Draining(seconds=60)
    draining.begin(lambda: stopped.append(True))
    draining.begin(lambda: stopped.append(True))
    assert stopped == [True]


def test_gateway_stops_after_the_drain_time() -> None:
    stopped = Event()
    Draining(seconds=0.01).begin(stopped.set)
    assert stopped.wait(10)


def test_gateway_is_not_ready_without_migrations(api: Api) -> None:
    with api.unit_of_work() as work:
        work.session.connection().exec_driver_sql("DROP TABLE alembic_version")
    assert api.client.get("/readyz").status_code == 503
