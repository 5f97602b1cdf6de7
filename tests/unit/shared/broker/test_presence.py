import json
from typing import cast

import pytest
import redis

from shared.broker import Worker
from shared.broker.presence import BEAT_SECONDS, Activity, Presence


class FakeRedis:
    """Redis with a settable queue length, which keeps the last announcement."""

    def __init__(self) -> None:
        self.waiting = 0
        self.announced = b""

    def set(self, name: str, value: str, ex: int) -> None:
        self.announced = value.encode()

    def llen(self, name: str) -> int:
        return self.waiting


class Scene:
    """Presence of a worker on a clock that the test advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr("shared.broker.presence.time.monotonic", lambda: self.seconds)
        self.redis = FakeRedis()
        self.activity = Activity()
        self.ends: list[float] = []
        self.presence = Presence(
            redis=cast(redis.Redis, self.redis),
            name="text@test:1",
            queues=("text.interactive",),
            activity=self.activity,
            deaf_after_seconds=60,
            releases=lambda: ("3",),
            on_deaf=self.record_end,
        )

    def record_end(self) -> None:
        self.ends.append(self.seconds)

    def later(self, seconds: float) -> None:
        """Let time pass in which the process runs and announces itself."""
        until = self.seconds + seconds
        while self.seconds < until - BEAT_SECONDS:
            self.after_a_pause(BEAT_SECONDS)
        self.after_a_pause(until - self.seconds)

    def after_a_pause(self, seconds: float) -> None:
        """Let time pass in which the process does not run, then announce it."""
        self.seconds += seconds
        self.presence.beat()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_announcement_contains_queues_releases_and_activity(scene: Scene) -> None:
    with scene.activity.handling():
        scene.later(1)
    announced = json.loads(scene.redis.announced)
    assert announced["queues"] == ["text.interactive"]
    assert announced["releases"] == ["3"]
    assert (announced["running"], announced["handled"]) == (1, 0)
    assert announced["seconds_since_consumed"] == 1


def test_worker_that_ignores_waiting_messages_is_deaf(scene: Scene) -> None:
    scene.later(0)
    scene.redis.waiting = 3
    scene.later(50)
    assert not scene.ends
    scene.later(11)
    assert scene.ends == [1061.0]


def test_worker_that_was_paused_has_time_to_consume(scene: Scene) -> None:
    scene.later(0)
    scene.redis.waiting = 3
    scene.after_a_pause(3600)
    scene.later(10)
    assert not scene.ends


def test_worker_that_stays_deaf_after_a_pause_ends(scene: Scene) -> None:
    scene.later(0)
    scene.redis.waiting = 3
    scene.later(30)
    scene.after_a_pause(3600)
    scene.later(61)
    assert scene.ends


def test_idle_worker_is_not_deaf(scene: Scene) -> None:
    scene.later(3600)
    scene.later(3600)
    assert not scene.ends


def test_worker_in_a_long_batch_is_not_deaf(scene: Scene) -> None:
    scene.redis.waiting = 3
    with scene.activity.handling():
        scene.later(3600)
    assert not scene.ends


def test_consuming_worker_is_not_deaf_with_a_long_queue(scene: Scene) -> None:
    scene.redis.waiting = 1000
    for _ in range(20):
        with scene.activity.handling():
            pass
        scene.later(30)
    assert not scene.ends


def test_announcement_contains_the_time_of_the_last_poll(scene: Scene) -> None:
    scene.later(0)
    assert json.loads(scene.redis.announced)["seconds_since_asked"] is None
    scene.activity.ask()
    scene.later(3)
    assert json.loads(scene.redis.announced)["seconds_since_asked"] == 3


@pytest.mark.parametrize(
    ("running", "consumed", "asked", "state"),
    [
        (1, 500.0, 500.0, "working"),
        (0, 500.0, 0.4, "ready"),
        (0, 0.4, None, "ready"),
        (0, 500.0, 400.0, "deaf"),
        (0, None, None, "deaf"),
    ],
)
def test_worker_state_follows_from_its_last_activity(
    running: int, consumed: float | None, asked: float | None, state: str
) -> None:
    assert Worker("text@a", (), (), running, 7, consumed, asked).state == state
