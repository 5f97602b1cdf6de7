"""Progress of the loops of this process, which its heartbeat reports.

A process that lives may do nothing: a loop of it may hang, or fail at every try. A loop is a task
that runs periodically, or a thread or handler that repeats.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import structlog

from shared import metrics

log = structlog.get_logger(__name__)

State = Literal["ok", "failing", "late"]

#: Failures in a row from which a loop counts as failing.
FAILING_AFTER = 3
#: A periodic task is late after three intervals and a slack, in seconds. Tasks with a long interval
#: may compute for hours.
QUICK_INTERVAL_SECONDS, QUICK_SLACK_SECONDS, SLACK_SECONDS = 60.0, 300.0, 2 * 3600.0
#: Longest reason and row that are kept, in characters.
REASON_CHARACTERS, ROW_CHARACTERS = 300, 80
#: Most errors of a chain that are searched for a row.
LONGEST_CHAIN = 10


@dataclass(frozen=True)
class LoopProgress:
    """The progress of one loop.

    Attributes:
        state: `failing` after some failures in a row, `late` if it should have succeeded since.
        seconds_since_success: Time since its last success, or since it began.
        last_success_at: `None` before the first success.
        failures: Failures since its last success.
        failure: Reason of the last failure.
        row: The row that stopped it; empty if the failure is not one of a row.
        rows_skipped: Rows that it left out since it began, because they raised an error.
        skipped: The row that it left out last, with the reason.
    """

    loop: str
    state: State
    seconds_since_success: float
    last_success_at: datetime | None = None
    failures: int = 0
    last_failure_at: datetime | None = None
    failure: str = ""
    row: str = ""
    rows_skipped: int = 0
    skipped: str = ""


class _Loop:
    def __init__(self) -> None:
        self.late_after_seconds = math.inf
        self.succeeded_at = time.monotonic()
        self.last_success_at: datetime | None = None
        self.failures = 0
        self.last_failure_at: datetime | None = None
        self.failure = ""
        self.row = ""
        self.rows_skipped = 0
        self.skipped = ""


class Progress:
    """Records the successes and failures of loops. Each loop begins when it is first named."""

    def __init__(self) -> None:
        self._loops: dict[str, _Loop] = {}
        self._lock = threading.Lock()

    def expect(self, loop: str, late_after_seconds: float) -> None:
        """Register a loop before its first run. Without it, a loop is never late."""
        with self._lock:
            self._loop(loop).late_after_seconds = late_after_seconds
        metrics.loop_failures_in_a_row.labels(loop, "").set(0)

    def succeeded(self, loop: str) -> None:
        """Record that a loop has done its work once."""
        with self._lock:
            one = self._loop(loop)
            one.succeeded_at, one.last_success_at = time.monotonic(), datetime.now(UTC)
            failures, one.failures = one.failures, 0
        if failures:
            _show(loop, one.row, "", 0)
        if failures >= FAILING_AFTER:
            log.info("loop_recovered", loop=loop, failures=failures)

    def failed(self, loop: str, error: BaseException, row: str = "") -> None:
        """Record a failure of a loop, and log the one from which it counts as failing.

        Args:
            loop: Name of the loop.
            error: Why it failed. The row that `stopped_at` noted is found in it.
            row: The row that it was working on.
        """
        with self._lock:
            one = self._loop(loop)
            before, one.row = one.row, (row or row_of(error))[:ROW_CHARACTERS]
            one.failures += 1
            one.failure, one.last_failure_at = reason_of(error), datetime.now(UTC)
            failures, row = one.failures, one.row
        _show(loop, before, row, failures)
        if failures == FAILING_AFTER:
            log.error("loop_failing", loop=loop, failures=failures, row=row, error=one.failure)

    def skipped(self, loop: str, row: object, error: BaseException) -> None:
        """Record, count and log that a loop has left out a row."""
        with self._lock:
            one = self._loop(loop)
            one.rows_skipped += 1
            one.skipped = f"{str(row)[:ROW_CHARACTERS]}: {reason_of(error)}"
        metrics.rows_skipped_total.labels(loop).inc()
        log.warning("row_skipped", loop=loop, row=str(row), error=reason_of(error))

    @contextmanager
    def watched(self, loop: str) -> Iterator[None]:
        """Record the success or failure of a loop's work; errors propagate."""
        try:
            yield
        except Exception as error:
            self.failed(loop, error)
            raise
        self.succeeded(loop)

    def report(self) -> list[LoopProgress]:
        """Return the progress of all loops, by name."""
        with self._lock:
            return [_progress(name, one) for name, one in sorted(self._loops.items())]

    def _loop(self, name: str) -> _Loop:
        return self._loops.setdefault(name, _Loop())


#: The loops of this process, as `prometheus_client.REGISTRY` has its metrics.
PROGRESS = Progress()


def late_after(interval_seconds: float) -> float:
    """Return the time after which a periodic task without success is late, in seconds."""
    is_quick = interval_seconds <= QUICK_INTERVAL_SECONDS
    return 3 * interval_seconds + (QUICK_SLACK_SECONDS if is_quick else SLACK_SECONDS)


def stopped_at(error: Exception, row: object) -> None:
    """Note in an error the row at which it stopped a loop."""
    error.add_note(f"{_NOTE}{row}")


def row_of(error: BaseException) -> str:
    """Return the row that `stopped_at` noted in an error or its causes, or an empty string."""
    found: BaseException | None = error
    for _ in range(LONGEST_CHAIN):
        if found is None:
            break
        for note in getattr(found, "__notes__", ()):
            if note.startswith(_NOTE):
                return str(note.removeprefix(_NOTE))
        found = found.__cause__ or found.__context__
    return ""


def reason_of(error: BaseException) -> str:
    """Return the type and the beginning of the text of an error, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:REASON_CHARACTERS]


_NOTE = "Row: "


def _progress(name: str, one: _Loop) -> LoopProgress:
    seconds = time.monotonic() - one.succeeded_at
    is_late = seconds > one.late_after_seconds
    return LoopProgress(
        loop=name,
        state="failing" if one.failures >= FAILING_AFTER else "late" if is_late else "ok",
        seconds_since_success=round(seconds, 1),
        last_success_at=one.last_success_at,
        failures=one.failures,
        last_failure_at=one.last_failure_at,
        failure=one.failure,
        row=one.row,
        rows_skipped=one.rows_skipped,
        skipped=one.skipped,
    )


def _show(loop: str, before: str, row: str, failures: int) -> None:
    """Export the failures in a row, with one series for each loop."""
    if before != row:
        metrics.loop_failures_in_a_row.remove(loop, before)
    metrics.loop_failures_in_a_row.labels(loop, row).set(failures)
