"""Shows that a process goes on: it touches a file, whose age a health check looks at.

Its figures would not show it: they are served by a thread of their own, also while all else hangs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Unavailable


@dataclass(frozen=True)
class Heartbeat:
    """Touches a file, if there is one to touch (`RAYON_BROKER_BEAT_FILE`)."""

    file: Path | None

    def beat(self) -> None:
        """Say that all goes on."""
        if self.file is not None:
            self.file.touch()

    @contextmanager
    def after(self) -> Iterator[None]:
        """Beat when something has ended; not if it failed by a fault of ours.

        A part that does not answer is no reason to start this process anew.
        """
        try:
            yield
        except Unavailable:
            self.beat()
            raise
        self.beat()
