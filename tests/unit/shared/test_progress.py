"""Progress of loops: failures in a row, lateness, and the row that stops a loop."""

import errno
from collections.abc import Iterator
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from shared.errors import Unavailable
from shared.progress import LoopProgress, Progress, late_after, row_of
from shared.skipping import skipping


class Clock:
    """Monotonic clock that the test advances."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with patch("shared.progress.time.monotonic", clock):
        yield clock


def of(progress: Progress, loop: str) -> LoopProgress:
    (found,) = [one for one in progress.report() if one.loop == loop]
    return found


def series(loop: str) -> dict[str, float]:
    """Return the exported failures in a row of a loop, by row."""
    return {
        sample.labels["row"]: sample.value
        for metric in REGISTRY.collect()
        if metric.name == "rayon_loop_failures_in_a_row"
        for sample in metric.samples
        if sample.labels["loop"] == loop
    }


def fail(progress: Progress, loop: str, error: Exception) -> None:
    with pytest.raises(type(error)), progress.watched(loop):
        raise error


def test_success_has_its_time_and_age(clock: Clock) -> None:
    progress = Progress()
    before = datetime.now(UTC)
    with progress.watched("p_success"):
        pass
    clock.seconds += 7
    found = of(progress, "p_success")
    assert (found.state, found.seconds_since_success) == ("ok", 7.0)
    assert found.last_success_at is not None
    assert before <= found.last_success_at <= datetime.now(UTC)


def test_loop_is_failing_from_the_third_failure_in_a_row_on() -> None:
    progress = Progress()
    for count in (1, 2):
        fail(progress, "p_failing", ValueError("broken"))
        assert (of(progress, "p_failing").state, of(progress, "p_failing").failures) == (
            "ok",
            count,
        )
    with capture_logs() as events:
        fail(progress, "p_failing", ValueError("broken"))
        fail(progress, "p_failing", ValueError("broken"))
    found = of(progress, "p_failing")
    assert (found.state, found.failures, found.failure) == ("failing", 4, "ValueError: broken")
    assert found.last_failure_at is not None
    (event,) = events
    assert (event["event"], event["loop"], event["failures"]) == ("loop_failing", "p_failing", 3)


def test_success_ends_a_row_of_failures() -> None:
    progress = Progress()
    for _ in range(3):
        fail(progress, "p_recovering", ValueError("broken"))
    progress.succeeded("p_recovering")
    found = of(progress, "p_recovering")
    assert (found.state, found.failures) == ("ok", 0)
    assert series("p_recovering") == {"": 0}


def test_loop_without_success_is_late_after_its_time(clock: Clock) -> None:
    progress = Progress()
    progress.expect("p_late", 120)
    clock.seconds += 119
    assert of(progress, "p_late").state == "ok"
    clock.seconds += 2
    assert of(progress, "p_late").state == "late"


def test_loop_of_which_no_time_is_expected_is_never_late(clock: Clock) -> None:
    progress = Progress()
    progress.succeeded("p_idle")
    clock.seconds += 1e6
    assert of(progress, "p_idle").state == "ok"


def test_expected_loop_is_exported_before_its_first_run() -> None:
    Progress().expect("p_expected", 60)
    assert series("p_expected") == {"": 0}


def test_row_that_stops_a_loop_is_named_in_progress_metric_and_log() -> None:
    progress = Progress()
    full = OSError(errno.ENOSPC, "No space left on device")
    with capture_logs() as events:
        for _ in range(3):
            with (
                pytest.raises(OSError, match="No space"),
                progress.watched("p_stopped"),
                skipping("p_rows", "job 7"),
            ):
                raise full
    assert of(progress, "p_stopped").row == "job 7"
    assert series("p_stopped") == {"job 7": 3}
    assert [event["row"] for event in events] == ["job 7"]


def test_row_is_found_in_the_cause_of_an_error() -> None:
    cause = OSError(errno.EIO, "Input/output error")
    with pytest.raises(OSError, match="Input"), skipping("p_cause", "row 3"):
        raise cause
    error = Unavailable("The storage does not answer")
    error.__cause__ = cause
    assert row_of(error) == "row 3"
    assert row_of(ValueError("broken")) == ""


def test_row_of_an_earlier_failure_leaves_the_metric() -> None:
    progress = Progress()
    progress.failed("p_moved", ValueError("broken"), row="a")
    progress.failed("p_moved", ValueError("broken"), row="b")
    assert series("p_moved") == {"b": 2}


def test_skipped_rows_are_counted_and_the_last_is_named() -> None:
    progress = Progress()
    progress.skipped("p_skipping", "row 1", ValueError("first"))
    progress.skipped("p_skipping", "row 2", KeyError("prdtypecode"))
    found = of(progress, "p_skipping")
    assert (found.state, found.rows_skipped) == ("ok", 2)
    assert found.skipped == "row 2: KeyError: 'prdtypecode'"


def test_tasks_that_compute_for_long_have_more_time() -> None:
    assert late_after(5) == 315
    assert late_after(900) == 2700 + 7200
