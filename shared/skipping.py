"""Skip a row of others' data that raises an error, so that it does not stop the rows after it."""

from dataclasses import dataclass

import structlog
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared import metrics
from shared.errors import Unavailable
from shared.progress import PROGRESS, reason_of, stopped_at

log = structlog.get_logger(__name__)


def skipping(loop: str, row: object) -> "_Skipping":
    """Count and log an error of one row instead of raising it.

    Failures that would meet every row still propagate: a dependency that does not answer, an error
    of the database, whose transaction is lost, and an error of the operating system such as a full
    disk. A missing file is a matter of the row.

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

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        if is_systemic(error):
            stopped_at(error, self.row)
            return False
        metrics.rows_skipped_total.labels(self.loop).inc()
        PROGRESS.skipped(self.loop, self.row, error)
        log.warning("row_skipped", loop=self.loop, row=str(self.row), error=reason_of(error))
        return True


def is_systemic(error: Exception) -> bool:
    """Return True for a failure that would meet every row."""
    if isinstance(error, OSError):
        # Libraries raise it without a number for content that they cannot read.
        return error.errno is not None and not isinstance(error, FileNotFoundError)
    return isinstance(error, Unavailable | DBAPIError | PendingRollbackError | PoolTimeout)
