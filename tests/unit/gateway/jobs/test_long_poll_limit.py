"""Tests of the limit on clients that wait for a job."""

import asyncio

import pytest

from gateway.jobs.long_poll import LongPolls
from gateway.settings import ConnectionSettings
from gateway.web.connections import OTHER_FILES, Capacity
from shared.errors import Unavailable


def test_clients_beyond_the_limit_are_refused_until_one_leaves() -> None:
    async def scene() -> None:
        polls = LongPolls(lambda _ids: set(), most=2)
        waiting = [asyncio.create_task(polls.until_final("a", 10)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="at most 2 clients") as refusal:
            await polls.until_final("b", 10)
        assert refusal.value.retry_after_seconds
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        await polls.until_final("b", 0.01)
        waiting[1].cancel()
        await asyncio.wait(waiting)

    asyncio.run(scene())


@pytest.mark.parametrize(("files", "connections"), [(1024, 768), (65_536, 2048), (100, 1)])
def test_connections_leave_files_for_the_stores(
    monkeypatch: pytest.MonkeyPatch, files: int, connections: int
) -> None:
    monkeypatch.setattr("gateway.web.connections.allow_open_files", lambda: files)
    capacity = Capacity.of(ConnectionSettings(max_connections=2048))
    assert capacity.connections == connections
    assert capacity.long_polls <= connections
    if files > OTHER_FILES:
        assert capacity.connections + capacity.backlog < files
