"""Abilities of the devices that Keras computes on."""

from pathlib import Path
from typing import Literal

import keras

Precision = Literal["float32", "mixed_bfloat16"]

#: Flags of processors that multiply matrices of bfloat16, in tiles and in vectors.
TILES, VECTORS = "amx_bf16", "avx512_bf16"
_FLAGS = Path("/proc/cpuinfo")


def has_accelerator() -> bool:
    """Return True if Keras computes on something else than a processor."""
    return any(not one.startswith("cpu") for one in keras.distribution.list_devices())


def computes_bfloat16(*flags: str) -> bool:
    """Return True if this machine computes products of bfloat16 faster than of float32.

    Args:
        *flags: Instructions of a processor, any of which is enough.
    """
    if has_accelerator():
        return True
    found = set(_FLAGS.read_text("utf-8").split()) if _FLAGS.exists() else set()
    return not found.isdisjoint(flags)
