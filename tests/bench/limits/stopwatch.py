"""Cost of a part: elapsed time and CPU time of its processes."""

import time
from dataclasses import dataclass
from typing import Any

import psutil
import redis


@dataclass(frozen=True)
class Cost:
    """Cost of a part for a number of rows.

    Attributes:
        rows: Number of products handled.
        seconds: Elapsed time.
        cpu_seconds: CPU time of the part's processes.
    """

    rows: int
    seconds: float
    cpu_seconds: float

    @property
    def rows_per_core_second(self) -> float:
        """Rows per second of one core that runs only this part."""
        return self.rows / self.cpu_seconds

    def table_row(self, name: str) -> str:
        """Return the row of the table for a part."""
        micros = 1e6 * self.cpu_seconds / self.rows
        rate = self.rows_per_core_second
        return f"{name:<34}{self.rows:>8}{self.seconds:>9.1f}{micros:>12.0f}{rate:>12.0f}"


@dataclass(frozen=True)
class Stopwatch:
    """Started measurement of elapsed and CPU time.

    Attributes:
        started: Clock at the start, in seconds.
        before: CPU seconds at the start.
        read: Function that returns the CPU seconds now.
    """

    started: float
    before: float
    read: Any

    @classmethod
    def here(cls) -> "Stopwatch":
        """Start measuring this process, with all its threads."""
        return cls(time.perf_counter(), time.process_time(), time.process_time)

    @classmethod
    def of_redis(cls, client: redis.Redis) -> "Stopwatch":
        """Start measuring a Redis server by the figures of its `INFO` command."""

        def read() -> float:
            figures: Any = client.info("cpu")
            return float(figures["used_cpu_user"]) + float(figures["used_cpu_sys"])

        return cls(time.perf_counter(), read(), read)

    @classmethod
    def of_tree(cls, process: psutil.Process) -> "Stopwatch":
        """Start measuring a process tree; processes that end meanwhile are not counted."""

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
