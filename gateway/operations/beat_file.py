"""Beat file of a process: a file whose age the health check of a container reads.

Metrics do not show a hanging process, because a thread of their own serves them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Unavailable


@dataclass(frozen=True)
class BeatFile:
    """Touches the file of `RAYON_BROKER_BEAT_FILE`; does nothing if it is not set."""

    path: Path | None

    def beat(self) -> None:
        """Touch the file."""
        if self.path is not None:
            self.path.touch()

    @contextmanager
    def after(self) -> Iterator[None]:
        """Touch the file after the block, unless it raises an unexpected exception.

        `Unavailable` counts as success: restarting this process does not help a dependency that
        does not answer.
        """
        try:
            yield
        except Unavailable:
            self.beat()
            raise
        self.beat()
