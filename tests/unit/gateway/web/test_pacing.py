"""Requests that arrive together start a few at a time, and health checks at once."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from gateway.web.pacing import STARTS, Pacing


class _App:
    """Application that notes which requests have started."""

    def __init__(self) -> None:
        self.started: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started.append(scope["path"])


async def _nothing(*_: Any) -> Any:
    raise AssertionError("this request has no body and no response")


def _request(app: Pacing, path: str) -> "asyncio.Task[None]":
    scope = {"type": "http", "path": path}
    return asyncio.ensure_future(app(scope, _nothing, _nothing))


async def _passes(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_burst_starts_a_few_requests_in_each_pass() -> None:
    async def burst() -> None:
        inner = _App()
        app = Pacing(inner)
        requests = [_request(app, f"/{number}") for number in range(3 * STARTS)]
        steps = []
        while not all(one.done() for one in requests):
            await _passes(1)
            steps.append(len(inner.started))
        assert inner.started == [f"/{number}" for number in range(3 * STARTS)]
        assert max(after - before for before, after in pairwise(steps)) <= STARTS

    asyncio.run(burst())


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_check_starts_before_a_burst(path: str) -> None:
    async def burst() -> None:
        inner = _App()
        app = Pacing(inner)
        requests = [_request(app, f"/{number}") for number in range(10 * STARTS)]
        requests.append(_request(app, path))
        await asyncio.wait(requests)
        assert inner.started.index(path) == 0

    asyncio.run(burst())


def test_request_that_was_cancelled_keeps_no_turn() -> None:
    async def burst() -> None:
        inner = _App()
        app = Pacing(inner)
        requests = [_request(app, f"/{number}") for number in range(2 * STARTS)]
        await _passes(1)
        for one in requests[STARTS:]:
            one.cancel()
        await asyncio.wait(requests)
        last = _request(app, "/last")
        await asyncio.wait_for(last, 5)
        assert inner.started == [*(f"/{number}" for number in range(STARTS)), "/last"]

    asyncio.run(burst())


def test_event_loops_in_several_threads_wait_for_their_own_requests() -> None:
    inner = _App()
    app = Pacing(inner)
    together = threading.Barrier(8)

    async def burst() -> None:
        together.wait(10)
        requests = [_request(app, f"/{number}") for number in range(20 * STARTS)]
        await asyncio.wait_for(asyncio.gather(*requests), 20)

    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(asyncio.run, burst()) for _ in range(8)]
        for one in done:
            one.result()
    assert len(inner.started) == 8 * 20 * STARTS
