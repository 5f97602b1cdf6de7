"""Latency and throughput of a model on this machine, without the load of other programs.

A training often shares its machine, and a wall clock then measures the other programs: a sound
release took 868 instead of 240 ms. CPU time does not count the time in which others ran, but adds
up the time of all threads, which work at once. So it is divided by the number of cores that the
model keeps busy where it is disturbed least.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Item = TypeVar("Item")

#: Calls before the first that is timed.
WARM_UP = 3


@dataclass(frozen=True)
class Clocks:
    """Clocks in seconds: one of the wall, and one of the CPU time of all threads."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time


def measure_latency(
    call: Callable[[Sequence[Item]], object],
    items: Sequence[Item],
    *,
    batch: int,
    clocks: Clocks | None = None,
) -> tuple[float, float]:
    """Return the median milliseconds of a single item, and items per second in batches.

    The median is without the load of other programs: it decides which candidates may serve.
    """
    clocks = clocks or Clocks()
    for item in items[:WARM_UP]:
        call([item])
    wall, cpu = [], []
    for item in items:
        started, used = clocks.wall(), clocks.cpu()
        call([item])
        wall.append(clocks.wall() - started)
        cpu.append(clocks.cpu() - used)
    started = clocks.wall()
    for start in range(0, len(items), batch):
        call(items[start : start + batch])
    rate = len(items) / (clocks.wall() - started)
    return float(np.median(undisturbed(wall, cpu))) * 1000, rate


def undisturbed(wall: ArrayLike, cpu: ArrayLike) -> NDArray[np.float64]:
    """Return the duration of each call without the load of other programs, shape `(calls,)`.

    On an idle machine that is the wall time.

    Args:
        wall: Wall time of each call, shape `(calls,)`, in any unit.
        cpu: CPU time of all threads of the process in each call, in the same unit.
    """
    passed, used = np.asarray(wall, np.float64), np.asarray(cpu, np.float64)
    cores = (used / np.maximum(passed, 1e-12)).max()
    found: NDArray[np.float64] = np.minimum(passed, used / max(1.0, float(cores)))
    return found
