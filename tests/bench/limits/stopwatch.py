"""Cost of a part: wall-clock time and CPU time of its processes."""

import time
from dataclasses import dataclass
from typing import Any

import psutil
import redis


@dataclass(frozen=True)
class Cost:
    """Cost of a part for a number of rows.

    Attributes:
        rows: Products that went through.
        seconds: On the clock.
        cpu_seconds: Of the part's processes.
    """

    rows: int
    seconds: float
    cpu_seconds: float

    @property
    def rows_per_core_second(self) -> float:
        """Rows that one core does in a second, if it does nothing else."""
        return self.rows / self.cpu_seconds

    def shown(self, name: str) -> str:
        """A line of the table."""
        micros = 1e6 * self.cpu_seconds / self.rows
        rate = self.rows_per_core_second
        return f"{name:<34}{self.rows:>8}{self.seconds:>9.1f}{micros:>12.0f}{rate:>12.0f}"


@dataclass(frozen=True)
class Stopwatch:
    """A start: the clock, the processor time so far, and how to read it again."""

    started: float
    before: float
    read: Any

    @classmethod
    def here(cls) -> "Stopwatch":
        """Of this process, all its threads."""
        return cls(time.perf_counter(), time.process_time(), time.process_time)

    @classmethod
    def of_redis(cls, client: redis.Redis) -> "Stopwatch":
        """Of a Redis server, as it says itself."""

        def read() -> float:
            said: Any = client.info("cpu")
            return float(said["used_cpu_user"]) + float(said["used_cpu_sys"])

        return cls(time.perf_counter(), read(), read)

    @classmethod
    def of_tree(cls, process: psutil.Process) -> "Stopwatch":
        """Of a process and all below it; those that end meanwhile are missed."""

        def read() -> float:
            return sum(map(_cpu, [process, *process.children(recursive=True)]))

        return cls(time.perf_counter(), read(), read)

    def cost(self, count: int) -> Cost:
        """Return the cost since the start."""
        return Cost(count, time.perf_counter() - self.started, max(self.read() - self.before, 1e-9))


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
