"""Large uploads in progress: what comes in lies on this machine's disk before anything is known."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.errors import Limited, Unavailable

#: Of one user in this process, at once; smaller ones are not counted.
MAX_LARGE = 2
LARGE_BYTES = 64 * 1024 * 1024
#: What a client is told to wait.
WAIT_SECONDS = 30


@dataclass(frozen=True)
class Uploads:
    """Counts the large uploads of each user; to be asked by one thread, that of the event loop."""

    large: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def begun(self, user_id: str, size: int) -> Iterator[None]:
        """Count an upload until it has ended.

        Args:
            user_id: Whose it is.
            size: Bytes that it announces; 0 if it does not, and then it may be of any size.

        Raises:
            Limited: This user sends as many as may be sent at once.
            Unavailable: The disk has no room for it.
        """
        if shutil.disk_usage(tempfile.gettempdir()).free < size:
            raise Unavailable(
                f"There is no room for an upload of {size} bytes", retry_after_seconds=WAIT_SECONDS
            )
        if 0 < size <= LARGE_BYTES:
            yield
            return
        if self.large[user_id] >= MAX_LARGE:
            raise Limited(
                f"Expected at most {MAX_LARGE} uploads at once that are larger than {LARGE_BYTES} "
                "bytes or do not tell their size. Received: one more",
                retry_after_seconds=WAIT_SECONDS,
            )
        self.large[user_id] += 1
        try:
            yield
        finally:
            self.large[user_id] -= 1
            if not self.large[user_id]:
                del self.large[user_id]
