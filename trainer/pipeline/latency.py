"""Latency and throughput of a model, measured on this machine."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")

#: Calls before the first that is timed.
WARM_UP = 3


def measure_latency(
    call: Callable[[Sequence[Item]], object], items: Sequence[Item], *, batch: int
) -> tuple[float, float]:
    """Return the median milliseconds of a single item, and items per second in batches."""
    for item in items[:WARM_UP]:
        call([item])
    singles = []
    for item in items:
        started = time.perf_counter()
        call([item])
        singles.append(time.perf_counter() - started)
    started = time.perf_counter()
    for start in range(0, len(items), batch):
        call(items[start : start + batch])
    return float(np.median(singles)) * 1000, len(items) / (time.perf_counter() - started)
