"""Limits on concurrent large uploads, which fill the local disk before they are validated."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.errors import Limited

#: Concurrent large uploads of one user in this process.
MAX_LARGE = 2
#: Uploads up to this size are not counted.
LARGE_BYTES = 64 * 1024 * 1024
#: `Retry-After` of a refused upload.
WAIT_SECONDS = 30


@dataclass(frozen=True)
class Uploads:
    """Counts the large uploads of each user. Not thread-safe: for the event loop only."""

    large: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def counted(self, user_id: str, size: int) -> Iterator[None]:
        """Count an upload until the block ends.

        Args:
            user_id: The sender.
            size: Announced size in bytes; 0 if unknown, and then the upload counts as large.

        Raises:
            Limited: The user has `MAX_LARGE` large uploads in progress.
        """
        if 0 < size <= LARGE_BYTES:
            yield
            return
        if self.large[user_id] >= MAX_LARGE:
            raise Limited(
                f"Expected at most {MAX_LARGE} uploads at once that are larger than {LARGE_BYTES} "
                "bytes or of unknown size. Received: one more",
                retry_after_seconds=WAIT_SECONDS,
            )
        self.large[user_id] += 1
        try:
            yield
        finally:
            self.large[user_id] -= 1
            if not self.large[user_id]:
                del self.large[user_id]
