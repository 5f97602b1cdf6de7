"""Tests of the health checks: they answer whatever the other requests wait for."""

import threading
import time

import anyio
import httpx
import pytest
from anyio.to_thread import current_default_thread_limiter

from gateway.operations import readiness
from gateway.operations.readiness import ReadinessProbe
from gateway.operations.schemas import Health
from tests.unit.gateway.conftest import Api

#: Longest wait for a response; without a thread it would never come.
PATIENCE_SECONDS = 60


async def responses(api: Api, *paths: str) -> list[int]:
    """Return the statuses of paths while all threads of the other requests are taken."""
    limiter = current_default_thread_limiter()
    limiter.total_tokens = 1
    await limiter.acquire_on_behalf_of(limiter)
    transport = httpx.ASGITransport(api.client.app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            with anyio.fail_after(PATIENCE_SECONDS):
                return [(await client.get(path)).status_code for path in paths]
    finally:
        limiter.release_on_behalf_of(limiter)


def test_health_checks_need_no_thread_of_other_requests(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "MOST_SECONDS", PATIENCE_SECONDS)
    assert anyio.run(responses, api, "/livez", "/readyz") == [200, 200]


def test_checks_that_hang_are_reported_in_time_and_run_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "MOST_SECONDS", 0.1)
    may_end, calls = threading.Event(), []

    def hang() -> Health:
        calls.append(time.monotonic())
        may_end.wait(10)
        return Health(status="ok", checks={})

    async def probes() -> list[str]:
        probe = ReadinessProbe()
        found = [(await probe.check(hang)).status for _ in range(3)]
        may_end.set()
        return [*found, (await probe.check(hang)).status]

    assert anyio.run(probes) == ["unavailable", "unavailable", "unavailable", "ok"]
    assert len(calls) == 1
