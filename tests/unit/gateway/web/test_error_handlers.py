"""Tests of problem documents, body limits, trace ids and request metrics."""

import errno
import os
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy.exc import DataError, OperationalError

from gateway.app import MAX_SIGN_IN_BYTES
from gateway.jobs.submission import Jobs
from gateway.settings import GatewaySettings
from shared.db.models import Job
from shared.db.session import UnitOfWork
from tests.unit.gateway.conftest import Api


def test_unknown_path_and_wrong_method_are_problems(api: Api) -> None:
    for method, path, status in (("GET", "/v1/none", 404), ("PATCH", "/v1/jobs", 405)):
        answer = api.client.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
        assert answer.json().keys() >= {"type", "title", "status", "detail"}


def test_crash_is_a_500_without_internals(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_args: object, **_options: object) -> Job:
        raise RuntimeError("secret internals")

    monkeypatch.setattr(Jobs, "submit_all", crash)
    answer = api.client.post("/v1/jobs", headers=mine, data={"designation": "x"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.headers["x-request-id"]) == 32
    assert "secret" not in answer.text


def test_value_that_the_database_cannot_store_is_422(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> Job:
        raise DataError("SELECT", {}, ValueError("text fields cannot contain NUL"))

    monkeypatch.setattr(Jobs, "submit_all", refuse)
    answer = api.client.post("/v1/jobs", headers=mine, data={"designation": "x"})
    assert answer.status_code == 422


def test_database_down_is_503_with_retry_after(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Iterator[None]:
        raise OperationalError("SELECT", {}, OSError("connection refused"))

    monkeypatch.setattr(type(api.unit_of_work.engine), "connect", lambda engine: refuse())
    for answer in (
        api.client.get("/v1/jobs", headers=mine),
        api.client.post("/v1/jobs", headers=mine, data={"designation": "x"}),
        api.client.post("/v1/token", data={"username": "ada", "password": "correct horse"}),
        api.client.get("/readyz"),
    ):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
    assert api.client.get("/livez").status_code == 200


def test_full_disk_is_503_wherever_it_is_met(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> Job:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/lib/rayon/tmp/upload")

    monkeypatch.setattr(Jobs, "submit_all", refuse)
    answer = api.client.post("/v1/jobs", headers=mine, data={"designation": "x"})
    assert answer.status_code == 503
    assert answer.json()["detail"] == "A disk is full. Expected room. Received: no space left"
    assert int(answer.headers["retry-after"]) > 0


def test_other_errors_of_the_operating_system_stay_500(
    api: Api, mine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> Job:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Jobs, "submit_all", refuse)
    answer = api.client.post("/v1/jobs", headers=mine, data={"designation": "x"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"]


def test_jobs_are_503_before_the_first_champion(api: Api, mine: dict[str, str]) -> None:
    api.services.champion._current = None
    answer = api.client.post("/v1/jobs", headers=mine, data={"designation": "x"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert api.client.get("/readyz").status_code == 503


def _chunks(total: int) -> Iterator[bytes]:
    for _ in range(total // 1_000):
        yield b"x" * 1_000


def test_body_over_the_limit_is_413_with_or_without_content_length(
    api: Api, mine: dict[str, str]
) -> None:
    headers = {**mine, "Content-Type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield part
        yield from _chunks(41_000)
        yield b"\r\n--b--\r\n"

    for content in (part + b"x" * 41_000, body()):
        answer = api.client.post("/v1/jobs", headers=headers, content=content)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:rayon:problem:too_large"
        # The body limit, and not the smaller image limit, which is checked after the body is read.
        assert "a body of at most 40000 bytes" in answer.json()["detail"]


def test_json_over_the_limit_is_413(api: Api, admin: dict[str, str]) -> None:
    headers = {**admin, "Content-Type": "application/json"}
    for content in (b"x" * 41_000, _chunks(41_000)):
        assert api.client.post("/v1/users", headers=headers, content=content).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("POST", "/v1/token/refresh", MAX_SIGN_IN_BYTES),
        ("POST", "/v1/password", MAX_SIGN_IN_BYTES),
        ("PUT", "/v1/jobs/one/label", 30_000),
    ],
)
def test_route_without_image_accepts_only_a_small_body(
    api: Api, method: str, path: str, limit: int
) -> None:
    answer = api.client.request(method, path, json={"x" * 31_000: 1})
    assert answer.status_code == 413
    assert f"a body of at most {limit} bytes" in answer.json()["detail"]


def test_default_limit_of_plain_bodies_is_256_kib() -> None:
    settings = GatewaySettings(secret_key=SecretStr("s" * 32))
    assert settings.max_plain_bytes == 256 * 1024
    assert settings.max_body_bytes > settings.max_image_bytes


def test_problem_names_100_fields_and_counts_the_others(api: Api) -> None:
    body = {f"unknown{number}": 1 for number in range(250)}
    answer = api.client.post("/v1/token/refresh", json={"refresh_token": "x", **body})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 100
    assert answer.json()["detail"].count("Received: `unknown") == 100
    assert answer.json()["detail"].endswith("; and 150 more")


def test_problem_with_few_fields_names_them_all(api: Api) -> None:
    answer = api.client.post("/v1/token/refresh", json={"refresh_token": "x", "one": 1, "two": 2})
    assert [error["field"] for error in answer.json()["errors"]] == ["one", "two"]
    assert "more" not in answer.json()["detail"]


def test_broken_multipart_is_400_and_not_a_crash(api: Api, mine: dict[str, str]) -> None:
    headers = {**mine, "Content-Type": "multipart/form-data; boundary=b"}
    answer = api.client.post("/v1/jobs", headers=headers, content=b"--b\r\nnonsense")
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("header", "value", "trace"),
    [
        ("X-Request-ID", "0AF7651916CD43DD8448EB211C80319C", "0af7651916cd43dd8448eb211c80319c"),
        (
            "X-Request-ID",
            "0af76519-16cd-43dd-8448-eb211c80319c",
            "0af7651916cd43dd8448eb211c80319c",
        ),
        ("X-Request-ID", "something else\tin here", None),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
        ("traceparent", "nonsense", None),
    ],
)
def test_every_response_has_a_trace_id(
    api: Api, header: str, value: str, trace: str | None
) -> None:
    answered = api.client.get("/livez", headers={header: value}).headers["x-request-id"]
    assert len(answered) == 32
    assert int(answered, 16) > 0
    assert trace in (None, answered)


def test_requests_are_counted_by_route_and_not_by_path(api: Api, mine: dict[str, str]) -> None:
    def count(route: str, method: str = "GET") -> float:
        labels = {"method": method, "route": route, "status": "404"}
        return REGISTRY.get_sample_value("rayon_http_requests_total", labels) or 0.0

    before = count("/v1/jobs/{job_id}"), count("unmatched"), count("unmatched", "other")
    api.client.get("/v1/jobs/one", headers=mine)
    api.client.get("/v1/jobs/two", headers=mine)
    api.client.get("/nowhere")
    api.client.request("BREW", "/nowhere")
    assert count("/v1/jobs/{job_id}") == before[0] + 2
    assert count("unmatched") == before[1] + 1
    assert count("unmatched", "other") == before[2] + 1


def test_openapi_names_every_public_route(api: Api) -> None:
    paths = api.client.get("/openapi.json").json()["paths"]
    assert paths.keys() >= {
        *("/v1/token", "/v1/token/refresh", "/v1/me", "/v1/me/password"),
        *("/v1/users", "/v1/users/{username}", "/v1/categories"),
        *("/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/label"),
        *("/v1/releases", "/v1/releases/{version}", "/v1/releases/{version}/promote"),
        *("/v1/releases/rollback", "/v1/training-runs", "/v1/training-runs/{run_id}"),
        *("/v1/queues", "/v1/dead-letters", "/v1/dead-letters/{letter_id}"),
        *("/v1/dead-letters/{letter_id}/replay", "/livez", "/readyz"),
    }
    assert api.client.get("/docs").status_code == 200
    assert api.client.get("/metrics").status_code == 404


def test_unit_of_work_is_not_broken_by_a_refused_request(
    api: Api, mine: dict[str, str], unit_of_work: UnitOfWork
) -> None:
    api.client.post("/v1/jobs", headers=mine, data={})
    assert api.client.post("/v1/jobs", headers=mine, data={"designation": "x"}).status_code == 202
