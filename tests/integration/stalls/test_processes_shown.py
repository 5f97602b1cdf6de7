"""A gateway shows the processes while Redis is there, and only itself while it hangs."""

from collections.abc import Callable

import httpx
import pytest

from tests.integration.stalls.conftest import Gateway
from tests.support.servers import RedisServer, until

BEAT_SECONDS, BOUND_SECONDS = 30, 10


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return the address of an empty SQLite database: the fault is that of Redis."""
    return sqlite_url


def test_processes_are_unknown_while_redis_hangs(
    start_gateway: Callable[..., Gateway], redis_server: RedisServer
) -> None:
    gateway = start_gateway()

    def shown() -> dict[str, str]:
        answer = httpx.get(f"{gateway.address}/readyz?verbose", timeout=BOUND_SECONDS)
        found: dict[str, str] = answer.json()["processes"]
        return found

    until(lambda: shown()["gateway"].startswith("ok"), BEAT_SECONDS, "its heartbeat is there")
    assert shown()["feeder"] == "missing"

    def loops() -> set[str]:
        (process,) = gateway.client.get("/v1/queues").json()["processes"]
        return {loop["loop"] for loop in process["loops"]}

    # The first heartbeat may come before the first turn of a loop.
    until(lambda: {"champion", "http"} <= loops(), BEAT_SECONDS, "its loops are shown")
    assert "feeder" in gateway.client.get("/v1/queues").json()["missing_processes"]
    redis_server.pause()
    assert shown()["others"].startswith("unknown")
    assert "gateway" in shown()
