"""Heartbeats: what a process writes, how old it is, and what of it is read."""

import json
import os
import socket
from typing import Any, cast

import pytest
import redis
from structlog.testing import capture_logs

from shared.broker.depth import PRESENCE_PREFIX, workers_present
from shared.broker.heartbeat import (
    FORGOTTEN_SECONDS,
    HEARTBEAT_PREFIX,
    Heartbeat,
    HeartbeatThread,
    heartbeats,
)
from shared.errors import Unavailable
from shared.progress import LoopProgress, Progress

OK = LoopProgress("sweep", "ok", 3.0)


class FakeRedis:
    """Keys with the time that they have left; the test lets time pass."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.left: dict[str, float] = {}
        self.commands: list[Any] = []

    def set(self, name: str, value: str, ex: int) -> None:
        self.values[name], self.left[name] = value.encode(), ex

    def delete(self, name: str | bytes) -> None:
        self.values.pop(name.decode() if isinstance(name, bytes) else name, None)

    def scan_iter(self, pattern: str, count: int) -> list[bytes]:
        assert count
        beginning = pattern.removesuffix("*")
        return [name.encode() for name in self.values if name.startswith(beginning)]

    def pipeline(self, *, transaction: bool) -> "FakeRedis":
        assert not transaction
        return self

    def __enter__(self) -> "FakeRedis":
        self.commands = []
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, name: bytes) -> None:
        self.commands.append(self.values.get(name.decode()))

    def pttl(self, name: bytes) -> None:
        self.commands.append(int(self.left.get(name.decode(), -2) * 1000))

    def mget(self, names: list[bytes]) -> list[bytes | None]:
        return [self.values.get(name.decode()) for name in names]

    def execute(self) -> list[Any]:
        return self.commands


class Away(FakeRedis):
    def scan_iter(self, pattern: str, count: int) -> list[bytes]:
        raise redis.ConnectionError(f"refused: {pattern} {count}")


def thread(fake: FakeRedis, progress: Progress, process: str = "scheduler") -> HeartbeatThread:
    return HeartbeatThread(cast("redis.Redis", fake), process, progress.report)


def read(fake: FakeRedis) -> list[Heartbeat]:
    return heartbeats(cast("redis.Redis", fake))


def test_heartbeat_holds_the_progress_of_all_loops() -> None:
    fake, progress = FakeRedis(), Progress()
    progress.succeeded("sweep")
    progress.failed("retention", ValueError("broken"), row="job 7")
    thread(fake, progress).beat()
    (found,) = read(fake)
    assert (found.process, found.state, found.age_seconds) == ("scheduler", "ok", 0.0)
    assert found.name == f"scheduler@{socket.gethostname()}:{os.getpid()}"
    retention, sweep = found.loops
    assert (retention.loop, retention.failures, retention.row) == ("retention", 1, "job 7")
    assert retention.failure == "ValueError: broken"
    assert sweep.last_success_at == progress.report()[1].last_success_at


def test_age_is_the_time_that_redis_has_kept_it() -> None:
    fake = FakeRedis()
    thread(fake, Progress()).beat()
    for name in fake.left:
        fake.left[name] = FORGOTTEN_SECONDS - 45.5
    assert read(fake)[0].age_seconds == 45.5
    assert read(fake)[0].state == "silent"


@pytest.mark.parametrize(
    ("age", "loops", "state"),
    [
        (29.0, ["ok", "ok"], "ok"),
        (29.0, ["ok", "late"], "late"),
        (29.0, ["late", "failing"], "failing"),
        (31.0, ["failing"], "silent"),
        (0.0, [], "ok"),
    ],
)
def test_state_of_a_process_is_the_worst_of_its_loops(
    age: float, loops: list[Any], state: str
) -> None:
    found = tuple(LoopProgress(f"loop {n}", one, 3.0) for n, one in enumerate(loops))
    assert Heartbeat("a@b:1", "a", age, found).state == state


def test_process_that_ends_in_order_leaves_no_heartbeat() -> None:
    fake = FakeRedis()
    mine = thread(fake, Progress())
    mine.beat()
    mine.stop()
    assert read(fake) == []


def test_process_removes_those_of_its_killed_predecessors_only() -> None:
    fake = FakeRedis()
    host = socket.gethostname()
    ended, other, elsewhere = (
        f"{HEARTBEAT_PREFIX}{name}"
        for name in (f"scheduler@{host}:99999999", f"feeder@{host}:99999999", "scheduler@x:9999999")
    )
    for key in (ended, other, elsewhere):
        fake.set(key, json.dumps({"process": "scheduler", "loops": []}), 900)
    mine = thread(fake, Progress())
    mine.beat()
    mine.remove_ended()
    assert ended not in fake.values
    assert len(fake.values) == 3


def test_heartbeat_of_another_version_is_read() -> None:
    fake = FakeRedis()
    loop = {"loop": "sweep", "state": "ok", "seconds_since_success": 1.0, "of_tomorrow": 1}
    fake.set(f"{HEARTBEAT_PREFIX}a@b:1", json.dumps({"process": "a", "loops": [loop]}), 900)
    assert read(fake)[0].loops == (LoopProgress("sweep", "ok", 1.0),)


def test_heartbeat_that_cannot_be_read_hides_no_other() -> None:
    fake = FakeRedis()
    for name, body in (("a", "{}"), ("b", "no JSON")):
        fake.set(f"{HEARTBEAT_PREFIX}{name}@x:1", body, 900)
    thread(fake, Progress()).beat()
    with capture_logs() as events:
        assert [one.process for one in read(fake)] == ["scheduler"]
    assert [event["row"] for event in events] == ["a@x:1", "b@x:1"]


def test_announcement_that_cannot_be_read_hides_no_other() -> None:
    fake = FakeRedis()
    good = {"queues": ["text.catalog"], "releases": [], "running": 0, "handled": 1}
    whole = json.dumps({**good, "name": "c@x:1", "seconds_since_consumed": None})
    for name, body in (("a", "{}"), ("b", "no JSON"), ("c", whole)):
        fake.set(f"{PRESENCE_PREFIX}{name}@x:1", body, 10)
    with capture_logs() as events:
        assert [one.name for one in workers_present(cast("redis.Redis", fake))] == ["c@x:1"]
    assert [event["row"] for event in events] == ["a@x:1", "b@x:1"]


def test_redis_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        read(Away())
