"""Latency and throughput of a model, measured on this machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from trainer.release.response_times import undisturbed

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
