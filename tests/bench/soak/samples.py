"""Samples of a system: memory, descriptors and threads of each program, and its files."""

import contextlib
import time
from pathlib import Path
from statistics import median

import psutil

from tests.bench.processes import family, programs
from tests.bench.reference import Reference
from tests.e2e.system import System

MEGABYTE = 2**20


class Meter:
    """Reader of the figures of each minute."""

    def __init__(self, system: System, beside: Reference) -> None:
        self._system, self._beside = system, beside
        self._logs, self._read_at = log_bytes(system.home), time.monotonic()

    def read(self) -> dict[str, float]:
        """Return the present figures, and those of the time since the last reading."""
        figures = sample(self._system)
        logs, now = log_bytes(self._system.home), time.monotonic()
        minutes = (now - self._read_at) / 60
        computations = self._beside.computations(self._read_at, now)
        # Rotation deletes the oldest log.
        figures["logs KB/min"] = max(0.0, (logs - self._logs) / 1024 / minutes)
        if computations:
            figures["computation us"] = median(computations) * 1e6
        self._logs, self._read_at = logs, now
        return figures


def sample(system: System) -> dict[str, float]:
    """Return the present figures by name; the last word of a name is its unit."""
    figures: dict[str, float] = {}
    for name, process in sorted(programs(system.home).items()):
        # A program that ends meanwhile has no figures in this minute.
        with contextlib.suppress(psutil.Error):
            members = [process] if name == "supervisord" else family(process)
            figures |= {f"{name} {what}": value for what, value in _figures(members).items()}
    return figures


def log_bytes(home: Path) -> int:
    """Return the size of all logs."""
    return _size(home / "logs")


def data_megabytes(home: Path) -> dict[str, float]:
    """Return the size of the database, the storage and the data of Redis, which grow with jobs."""
    database = sum(path.stat().st_size for path in home.glob("rayon.db*")) / MEGABYTE
    folders = {name: _size(home / name) / MEGABYTE for name in ("storage", "redis")}
    return {"database": database} | folders


def _figures(members: list[psutil.Process]) -> dict[str, float]:
    memory = [member.memory_full_info() for member in members]
    return {
        "RSS MB": sum(one.rss for one in memory) / MEGABYTE,
        "PSS MB": sum(one.pss for one in memory) / MEGABYTE,
        "fds": sum(member.num_fds() for member in members),
        "threads": sum(member.num_threads() for member in members),
    }


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        # The retention deletes files, and supervisord renames logs.
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total
