"""MLflow hangs: only requests that need it are refused, in time."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.stalls.conftest import Gateway, silent_server

#: More than the gateway has threads.
AT_ONCE = 60
REFUSED_SECONDS = 20


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return the address of an empty SQLite database: the fault is that of MLflow."""
    return sqlite_url


def test_requests_that_need_no_registry_go_on(start_gateway: Callable[..., Gateway]) -> None:
    with silent_server() as url:
        gateway = start_gateway(RAYON_RELEASES_MLFLOW_URL=url, RAYON_GATEWAY_REGISTRY_SECONDS="1")
        started = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            listed = [pool.submit(gateway.client.get, "/v1/releases") for _ in range(AT_ONCE)]
            assert gateway.is_alive()
            assert gateway.submit().status_code == 202
            assert gateway.client.get("/v1/jobs").status_code == 200
            answers = [one.result() for one in listed]
        assert time.monotonic() - started < REFUSED_SECONDS
        assert {answer.status_code for answer in answers} == {503}
        assert all("retry-after" in answer.headers for answer in answers)
