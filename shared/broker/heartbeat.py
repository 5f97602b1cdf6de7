"""Heartbeat of a process: the progress of its loops, written to Redis every ten seconds.

A heartbeat stays for a while after its process was killed or hangs, so that it can be named.
Its age is the time that Redis has kept it, so no clocks of two machines are compared.
"""

import atexit
import json
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, cast

import redis
import structlog

from shared.errors import Unavailable
from shared.progress import PROGRESS, LoopProgress

log = structlog.get_logger(__name__)

#: Prefix of the keys of heartbeats.
HEARTBEAT_PREFIX = "rayon:heartbeat:"
#: Interval of heartbeats.
HEARTBEAT_SECONDS = 10.0
#: Age from which a process is silent: it hangs, was stopped or killed, or does not reach Redis.
SILENT_SECONDS = 3 * HEARTBEAT_SECONDS
#: Time after which a process without heartbeats is forgotten.
FORGOTTEN_SECONDS = 900

ProcessState = Literal["ok", "failing", "late", "silent"]


@dataclass(frozen=True)
class Heartbeat:
    """The last heartbeat of a process.

    Attributes:
        name: Unique name of the process, such as `scheduler@host:12`.
        process: What it runs as, such as `scheduler` or `text-interactive`.
        age_seconds: Time since the heartbeat was written.
        loops: Progress of its loops at that time.
    """

    name: str
    process: str
    age_seconds: float
    loops: tuple[LoopProgress, ...]

    @property
    def state(self) -> ProcessState:
        """The worst of the process and its loops."""
        if self.age_seconds > SILENT_SECONDS:
            return "silent"
        states = {loop.state for loop in self.loops}
        return "failing" if "failing" in states else "late" if "late" in states else "ok"


class HeartbeatThread(threading.Thread):
    """Thread that writes the heartbeat of this process until it ends.

    Args:
        redis: Connection to Redis.
        process: Role of this process, such as `scheduler`.
        progress: Returns the progress of its loops.
    """

    def __init__(
        self,
        redis: redis.Redis,
        process: str,
        progress: Callable[[], Sequence[LoopProgress]] = PROGRESS.report,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._redis = redis
        self._process = process
        self._progress = progress
        self._stopping = threading.Event()

    def run(self) -> None:
        """Write heartbeats at an interval."""
        atexit.register(self.stop)
        with suppress(redis.RedisError, OSError):
            self.remove_ended()
        while not self._stopping.is_set():
            try:
                self.beat()
            except (redis.RedisError, OSError) as error:
                log.warning("heartbeat_not_written", error=str(error))
            self._stopping.wait(HEARTBEAT_SECONDS)

    def beat(self) -> None:
        """Write the heartbeat once."""
        loops = [asdict(one) for one in self._progress()]
        body = json.dumps({"process": self._process, "loops": loops}, default=datetime.isoformat)
        self._redis.set(self._key(os.getpid()), body, ex=FORGOTTEN_SECONDS)

    def stop(self) -> None:
        """Write no further heartbeat and remove the last one: the process ends in order."""
        self._stopping.set()
        with suppress(redis.RedisError, OSError):
            self._redis.delete(self._key(os.getpid()))

    def remove_ended(self) -> None:
        """Remove the heartbeats of earlier processes of this kind that were killed on this host."""
        pattern = f"{self._host}:*"
        for key in cast("list[bytes]", list(self._redis.scan_iter(pattern, count=500))):
            number = key.decode().rpartition(":")[2]
            if number.isdigit() and not _is_running(int(number)):
                self._redis.delete(key)

    @property
    def _host(self) -> str:
        return f"{HEARTBEAT_PREFIX}{self._process}@{socket.gethostname()}"

    def _key(self, number: int) -> str:
        return f"{self._host}:{number}"


def heartbeats(client: redis.Redis) -> list[Heartbeat]:
    """Read the last heartbeats of all processes, by name. Raises `Unavailable`."""
    try:
        keys = sorted(client.scan_iter(f"{HEARTBEAT_PREFIX}*", count=500))
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.get(key)
                pipe.pttl(key)
            found = pipe.execute()
    except redis.RedisError as error:
        raise Unavailable(f"The message queue does not answer: {error}") from error
    read = []
    for key, body, left in zip(keys, found[::2], found[1::2], strict=True):
        name = key.decode().removeprefix(HEARTBEAT_PREFIX)
        if body is None:
            continue
        try:
            read.append(_heartbeat(name, json.loads(body), left))
        except (KeyError, TypeError, ValueError) as error:
            # A heartbeat of another version must not hide those of all other processes.
            PROGRESS.skipped("processes", name, error)
    return read


def _heartbeat(name: str, fields: dict[str, Any], left_milliseconds: int) -> Heartbeat:
    return Heartbeat(
        name=name,
        process=fields["process"],
        age_seconds=round(max(0.0, FORGOTTEN_SECONDS - left_milliseconds / 1000), 1),
        loops=tuple(_loop(one) for one in fields["loops"]),
    )


def _loop(fields: dict[str, Any]) -> LoopProgress:
    # Fields of a newer version are ignored, and those that an older one lacks have defaults.
    known = {name: fields[name] for name in LoopProgress.__dataclass_fields__ if name in fields}
    for name in ("last_success_at", "last_failure_at"):
        if known.get(name):
            known[name] = datetime.fromisoformat(known[name])
    return LoopProgress(**known)


def _is_running(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
