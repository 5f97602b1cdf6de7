"""Skip a row of others' data that raises an error, so that it does not stop the rows after it."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from shared import metrics
from shared.errors import Unavailable

log = structlog.get_logger(__name__)


@contextmanager
def skipping(loop: str, row: object) -> Iterator[None]:
    """Count and log an error of one row instead of raising it.

    Failures that would meet every row still propagate: a dependency that does not answer, an error
    of the database, whose transaction is lost, and an error of the operating system such as a full
    disk. A missing file is a matter of the row.

    Args:
        loop: Name of the loop in the metrics and the logs.
        row: ID of the row in the logs.
    """
    try:
        yield
    except Exception as error:
        if is_systemic(error):
            raise
        metrics.rows_skipped_total.labels(loop).inc()
        log.warning(
            "row_skipped", loop=loop, row=str(row), error=f"{type(error).__name__}: {error}"
        )


def is_systemic(error: Exception) -> bool:
    """Return True for a failure that would meet every row."""
    if isinstance(error, OSError):
        # Libraries raise it without a number for content that they cannot read.
        return error.errno is not None and not isinstance(error, FileNotFoundError)
    return isinstance(error, Unavailable | SQLAlchemyError)
