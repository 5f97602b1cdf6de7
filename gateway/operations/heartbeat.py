"""Heartbeat of a process: a file whose age a health check reads.

Its figures would not show it: they are served by a thread of their own, also while all else hangs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Unavailable


@dataclass(frozen=True)
class Heartbeat:
    """Touches the file of `RAYON_BROKER_BEAT_FILE`, if set."""

    file: Path | None

    def beat(self) -> None:
        """Touch the file."""
        if self.file is not None:
            self.file.touch()

    @contextmanager
    def after(self) -> Iterator[None]:
        """Beat after the block; not if it fails with an unexpected exception.

        A part that does not answer is no reason to start this process anew.
        """
        try:
            yield
        except Unavailable:
            self.beat()
            raise
        self.beat()
