"""Skip a row of others' data that raises an error, so that it does not stop the rows after it."""

import errno
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.errors import Unavailable
from shared.progress import PROGRESS, stopped_at

#: Errors of the operating system that concern one file or folder and not the disk.
OF_ONE_FILE = {
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}
#: Files that one run of a loop may fail to remove, before it counts as a failure of everything.
MOST_FILES_LEFT = 100


class Removals:
    """Files that one run of a loop cannot remove: they are skipped, up to a number."""

    def __init__(self, loop: str) -> None:
        self._loop = loop
        self._left = MOST_FILES_LEFT

    def skipping(self, row: object) -> "_Skipping":
        """Skip a file or folder that cannot be removed, besides what `skipping` skips."""
        return _Skipping(self._loop, row, self)

    def takes(self, error: Exception) -> bool:
        """Return True for the error of one file, unless there were too many of them."""
        cause = error.__cause__ if isinstance(error, Unavailable) else error
        if not isinstance(cause, OSError) or cause.errno not in OF_ONE_FILE:
            return False
        self._left -= 1
        return self._left >= 0


def skipping(loop: str, row: object) -> "_Skipping":
    """Count and log an error of one row instead of raising it.

    Failures that would meet every row still propagate, with a note of the row: a dependency that
    does not answer, an error of the database, whose transaction is lost, and an error of the
    operating system such as a full disk. A missing file is a matter of the row.

    Args:
        loop: Name of the loop in the metrics and the logs.
        row: ID of the row in the logs.
    """
    return _Skipping(loop, row)


@dataclass(frozen=True)
class _Skipping:
    # A generator would not tell type checkers that the statements after it can be reached.
    loop: str
    row: object
    removals: Removals | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        is_of_file = self.removals is not None and self.removals.takes(error)
        if is_systemic(error) and not is_of_file:
            stopped_at(error, self.row)
            return False
        PROGRESS.skipped(self.loop, self.row, error)
        return True


def is_systemic(error: Exception) -> bool:
    """Return True for a failure that would meet every row."""
    if isinstance(error, OSError):
        # Libraries raise it without a number for content that they cannot read.
        return error.errno is not None and not isinstance(error, FileNotFoundError)
    return isinstance(error, Unavailable | DBAPIError | PendingRollbackError | PoolTimeout)
