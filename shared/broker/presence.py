"""Announcement of a worker, and detection of a worker that no longer consumes.

After a broken connection a Celery worker can stay alive without consuming (celery#8030, #10205,
#10302): the process runs and the queue grows. Liveness is therefore judged by consumption, and a
deaf worker exits so that its supervisor restarts it.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redis
import structlog

from shared import metrics
from shared.broker.depth import PRESENCE_PREFIX
from shared.broker.transport import shares_key
from shared.progress import PROGRESS

log = structlog.get_logger(__name__)

#: Interval of announcements.
BEAT_SECONDS = 2.0
#: Lifetime of an announcement, long enough to survive a few missed beats.
EXPIRY_SECONDS = 10
#: Most that the time between two announcements counts as quiet. A longer time is one in which this
#: process was paused, as by SIGSTOP or a suspended machine, and could not consume.
COUNTED_SECONDS = 2 * BEAT_SECONDS
#: Loop that polls for messages and handles them, in the heartbeat.
CONSUMING = "consume"
#: Exit code of a worker that found itself deaf (`EX_SOFTWARE` of sysexits.h).
DEAF_EXIT_CODE = 70


def process_name(role: str) -> str:
    """Return the unique name of this process, such as `text@host:12`."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"


class Activity:
    """Counters and times of a worker's message handling."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running = 0
        self.handled = 0
        self.last_consumed: float | None = None
        self.last_asked: float | None = None

    def ask(self) -> None:
        """Record that Redis has just answered a poll for messages."""
        self.last_asked = time.monotonic()
        PROGRESS.succeeded(CONSUMING)

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Count a message as running during the block, then as handled."""
        with self._lock:
            self.running += 1
            self.last_consumed = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self.running -= 1
                self.handled += 1
                self.last_consumed = time.monotonic()
            PROGRESS.succeeded(CONSUMING)


class Presence(threading.Thread):
    """Thread that announces a worker every two seconds until the process ends."""

    def __init__(
        self,
        redis: redis.Redis,
        name: str,
        queues: tuple[str, ...],
        activity: Activity,
        deaf_after_seconds: float,
        beat_file: Path | None = None,
        releases: Callable[[], tuple[str, ...]] = tuple,
        on_deaf: Callable[[], None] = lambda: os._exit(DEAF_EXIT_CODE),
    ) -> None:
        super().__init__(name="presence", daemon=True)
        self._redis = redis
        self._worker_name = name
        self._queues = queues
        self._activity = activity
        self._deaf_after_seconds = deaf_after_seconds
        self._beat_file = beat_file
        self._on_deaf = on_deaf
        self._looked_at = time.monotonic()
        self._quiet_seconds = 0.0
        #: Returns the releases that the worker has loaded.
        self.releases = releases
        #: Returns why releases cannot be loaded, by version.
        self.unloadable: Callable[[], Mapping[str, str]] = dict

    def run(self) -> None:
        """Announce the worker at an interval until the process ends."""
        while True:
            try:
                self.beat()
            except (redis.RedisError, OSError) as error:
                self._quiet_seconds = 0.0
                metrics.dependency_failures_total.labels("queue").inc()
                log.warning("presence_not_announced", error=str(error))
            time.sleep(BEAT_SECONDS)

    def beat(self) -> None:
        """Announce the worker once, and stop it if it is deaf."""
        self._redis.set(
            f"{PRESENCE_PREFIX}{self._worker_name}", self._announcement(), ex=EXPIRY_SECONDS
        )
        if self._is_deaf():
            log.critical("worker_deaf", queues=self._queues, seconds=self._deaf_after_seconds)
            self._on_deaf()
        elif self._beat_file is not None:
            self._beat_file.touch()

    def _announcement(self) -> str:
        consumed, asked = self._activity.last_consumed, self._activity.last_asked
        return json.dumps(
            {
                "name": self._worker_name,
                "queues": self._queues,
                "releases": self.releases(),
                "unloadable": dict(self.unloadable()),
                "running": self._activity.running,
                "handled": self._activity.handled,
                "seconds_since_consumed": _seconds_since(consumed),
                "seconds_since_asked": _seconds_since(asked),
            }
        )

    def _is_deaf(self) -> bool:
        looked_at, self._looked_at = self._looked_at, time.monotonic()
        lists = (key for queue in self._queues for key in (queue, shares_key(queue)))
        waiting = sum(int(self._redis.llen(key)) for key in lists)
        has_consumed = (self._activity.last_consumed or 0.0) >= looked_at
        if not waiting or self._activity.running or has_consumed:
            self._quiet_seconds = 0.0
        else:
            self._quiet_seconds += min(self._looked_at - looked_at, COUNTED_SECONDS)
        return self._quiet_seconds > self._deaf_after_seconds


def _seconds_since(moment: float | None) -> float | None:
    return None if moment is None else time.monotonic() - moment
