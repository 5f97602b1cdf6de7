"""Limits of a training's processes, which serve beside the gateway and the workers of a machine."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

#: Variables by which numerical libraries learn their number of threads: OpenMP with ONNX Runtime,
#: the linear algebra of NumPy, TensorFlow, Arrow, and Hugging Face's tokenizers (in Rust's Rayon).
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "ARROW_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
#: Interval between two measurements of the memory.
WATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Limits:
    """Limits of a training beside the other programs of its machine.

    Attributes:
        niceness: Added to the nice value of its processes.
        is_background: Compute and read only while no other program wants to, on Linux.
        threads: Threads of each numerical library; `None` for their own choice.
        memory_bytes: Most memory of its processes together; `None` for no limit.
    """

    niceness: int = 0
    is_background: bool = False
    threads: int | None = None
    memory_bytes: int | None = None

    def command(self, command: Sequence[str]) -> list[str]:
        """Return a command that lowers its priority, and then becomes the given one."""
        lower = [sys.executable, "-m", "trainer.runs.background", str(self.niceness)]
        return [*lower, *(["--background"] if self.is_background else []), "--", *command]

    def environment(self) -> Mapping[str, str]:
        """Return the variables that limit the threads of numerical libraries."""
        return {} if self.threads is None else dict.fromkeys(THREAD_VARIABLES, str(self.threads))


class MemoryExceeded(Exception):
    """A process group uses more memory than it may.

    Attributes:
        used: Bytes that it uses.
        limit: Bytes that it may use.
    """

    def __init__(self, used: int, limit: int) -> None:
        super().__init__(f"Expected at most {limit} bytes of memory. Received: {used}")
        self.used = used
        self.limit = limit


@dataclass
class MemoryWatch:
    """Compares the memory of a process group with its limit."""

    group: int
    limit: int | None
    _measured_at: float = field(default=float("-inf"), init=False)

    def check(self) -> None:
        """Raise `MemoryExceeded` if the group uses too much; measure once in a second."""
        moment = time.monotonic()
        if self.limit is None or moment - self._measured_at < WATCH_SECONDS:
            return
        self._measured_at = moment
        used = group_memory(self.group)
        if used > self.limit:
            raise MemoryExceeded(used, self.limit)


def group_memory(group: int) -> int:
    """Return the bytes of memory that the processes of a group have for themselves.

    Pages of files, such as mapped arrays, do not count: the kernel drops them where it needs room.
    """
    return sum(_memory(pid) for pid in psutil.pids() if _group(pid) == group)


def _memory(pid: int) -> int:
    # It may have ended meanwhile.
    with suppress(psutil.Error):
        found = psutil.Process(pid).memory_info()
        return int(found.rss - getattr(found, "shared", 0))
    return 0


def _group(pid: int) -> int | None:
    with suppress(OSError):
        return os.getpgid(pid)
    return None
