"""Rows that raise are skipped and counted; failures of everything are not."""

import errno

import pytest
from prometheus_client import REGISTRY
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from shared.errors import NotFound, Unavailable
from shared.skipping import MOST_FILES_LEFT, Removals, skipping


def skipped() -> float:
    return REGISTRY.get_sample_value("rayon_rows_skipped_total", {"loop": "tested"}) or 0.0


@pytest.mark.parametrize(
    "error",
    [
        KeyError("prdtypecode"),
        ValueError("NaN"),
        NotFound("gone"),
        FileNotFoundError(errno.ENOENT, "gone"),
        OSError("broken data stream"),
        RecursionError(),
    ],
)
def test_row_that_raises_is_counted_and_named(error: Exception) -> None:
    before, done = skipped(), []
    with capture_logs() as events:
        for row in range(3):
            with skipping("tested", row):
                if row == 1:
                    raise error
                done.append(row)
    assert done == [0, 2]
    assert skipped() == before + 1
    (event,) = events
    assert (event["event"], event["row"]) == ("row_skipped", "1")
    assert type(error).__name__ in event["error"]


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("The database does not answer"),
        OperationalError("SELECT", {}, Exception("gone")),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyboardInterrupt(),
    ],
)
def test_failure_of_everything_propagates(error: BaseException) -> None:
    with pytest.raises(type(error)), skipping("tested", 1):
        raise error


def refused(number: int = errno.EACCES) -> Unavailable:
    """Return the error of the storage for a file that cannot be removed."""
    error = Unavailable("The storage does not answer: [Errno 13] Permission denied")
    error.__cause__ = OSError(number, "Permission denied")
    return error


@pytest.mark.parametrize("number", [errno.EACCES, errno.EISDIR, errno.ENOTEMPTY])
def test_file_that_cannot_be_removed_is_skipped(number: int) -> None:
    before = skipped()
    with Removals("tested").skipping("pictures/ab/1"):
        raise refused(number)
    assert skipped() == before + 1


def test_storage_that_is_away_stops_removals() -> None:
    with pytest.raises(Unavailable), Removals("tested").skipping("pictures/ab/1"):
        raise refused(errno.ECONNREFUSED)


def test_storage_that_lets_nothing_be_removed_stops_removals() -> None:
    removals = Removals("tested")
    for _ in range(MOST_FILES_LEFT):
        with removals.skipping("pictures/ab/1"):
            raise refused()
    with pytest.raises(Unavailable), removals.skipping("pictures/ab/1"):
        raise refused()
