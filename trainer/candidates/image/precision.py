"""Precision in which a machine fits an image network fastest, found by timing both.

It depends on the network: with AVX-512 and its instructions for bfloat16, a step of Xception takes
.7 of its time in float32, and one of EfficientNet-Lite0 2.8 times as long.
"""

import time
from pathlib import Path

import keras
import numpy as np

from trainer.candidates.devices import (
    TILES,
    VECTORS,
    Precision,
    computes_bfloat16,
    has_accelerator,
)
from trainer.candidates.image.unfreezing import resizable, unfreeze
from trainer.candidates.protocols import LogLine

PRECISIONS: tuple[Precision, ...] = ("float32", "mixed_bfloat16")
#: File of the precision that a fit began with: it continues with the same.
KEPT = "precision.txt"
#: Images of a timed step and their side, and the number of steps; the fastest counts.
BATCH, SIZE, STEPS = 32, 96, 3


def kept_precision(backbone: keras.Model, folder: Path, log_line: LogLine) -> Precision:
    """Return the precision of a fit, which is found when it begins.

    Args:
        backbone: Network to be fitted; see `resizable`.
        folder: Folder of the fit.
        log_line: Called with the times, if both were timed.
    """
    path = folder / KEPT
    if not path.exists():
        path.write_text(fastest_precision(backbone, log_line), "utf-8")
    found = path.read_text("utf-8")
    return next(one for one in PRECISIONS if one == found)


def fastest_precision(backbone: keras.Model, log_line: LogLine) -> Precision:
    """Return the precision of the faster steps; bfloat16 on accelerators, which are not timed."""
    if has_accelerator():
        return "mixed_bfloat16"
    if not computes_bfloat16(TILES, VECTORS):
        return "float32"
    seconds = {one: step_seconds(backbone, one) for one in PRECISIONS}
    line = ", ".join(f"{one} {found * 1000 / BATCH:.1f} ms" for one, found in seconds.items())
    log_line(f"CPU time of an image of {SIZE} pixels: {line}")
    return min(seconds, key=lambda one: seconds[one])


def step_seconds(backbone: keras.Model, precision: Precision) -> float:
    """Return the CPU time of a step that fits all layers of a copy of the network."""
    copy = resizable(backbone, precision)
    unfreeze(copy, 1.0)
    copy.compile(optimizer="sgd", loss="mse", jit_compile=False)
    pixels = np.zeros((BATCH, SIZE, SIZE, 3), np.float32)
    features = np.zeros((BATCH, copy.output_shape[-1]), np.float32)
    # The first step compiles.
    copy.train_on_batch(pixels, features)
    times = []
    for _ in range(STEPS):
        started = time.process_time()
        copy.train_on_batch(pixels, features)
        times.append(time.process_time() - started)
    return min(times)
