"""Free space of the disk of an instance, reported when it ends and when it is back."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from infra.embedded.terminal import say

MEGABYTE = 2**20
#: A disk with less free space counts as full: a database or a queue may already fail to grow.
FULL_BYTES = 16 * MEGABYTE


class Space(NamedTuple):
    """Free and total bytes of a disk."""

    free: int
    total: int


def space_of(folder: Path) -> Space:
    """Return the space of the disk of a folder. Raises `OSError`."""
    usage = shutil.disk_usage(folder)
    return Space(usage.free, usage.total)


class DiskWatch:
    """Prints one line when a disk becomes full, and one when there is room again.

    Args:
        folder: Folder on the disk.
        measure: Returns the space of the disk of a folder.
    """

    def __init__(self, folder: Path, measure: Callable[[Path], Space] = space_of) -> None:
        self._folder = folder
        self._measure = measure
        self._is_full = False

    def look(self) -> None:
        """Measure the disk, and print a change."""
        try:
            free, total = self._measure(self._folder)
        except OSError:
            return
        # Between the two limits nothing changes, or a disk at the limit would print lines forever.
        if not self._is_full and free < FULL_BYTES:
            self._is_full = True
            say(f"[disk] {self._folder}: the disk is full ({_megabytes(free)} of "
                f"{_megabytes(total)} free). What cannot be stored is refused with status 503 "
                "until there is room; accepted jobs wait.")  # fmt: skip
        elif self._is_full and free >= 2 * FULL_BYTES:
            self._is_full = False
            say(f"[disk] {self._folder}: there is room again ({_megabytes(free)} free).")


def _megabytes(size: int) -> str:
    return f"{size // MEGABYTE} MB"
