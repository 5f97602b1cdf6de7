"""Progress display."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from rayon import Catalog, Counts, Progress
from rayon.answers import moment
from rayon.cli import bars
from rayon.cli.bars import Bars, Lines, Pace, amount, progress_shown
from rayon.cli.screen import Screen, duration, printable

CATALOG = Catalog(
    id="c",
    status="running",
    name="products.csv",
    model="fusion",
    release="3",
    dry_run=False,
    created_at=datetime(2026, 1, 5, tzinfo=UTC),
    finished_at=None,
    counts=Counts(rows=50_000, done=1_200),
    rows_per_second=340.4,
    eta_seconds=143.0,
    unmatched_images=(),
    unused_images=(),
    warnings=0,
    error=None,
    raw={},
    connection=None,  # type: ignore[arg-type]  # it is only looked at
)
ROWS = Progress("running", 1_200, 50_000, CATALOG)
BYTES = Progress("uploading", 3_100_000, 20_000_000)


def screen_on(output: io.StringIO, *, is_terminal: bool) -> Screen:
    screen = Screen()
    screen.errors = Console(file=output, force_terminal=is_terminal, width=100, color_system=None)
    return screen


def test_rows_use_the_counts_of_the_service() -> None:
    assert amount(ROWS) == "1,200 of 50,000 rows"
    assert Pace().of(ROWS) == "340 rows/s, 2 min 23 s left"


def test_slow_rate_keeps_its_decimal() -> None:
    slow = replace(CATALOG, rows_per_second=0.42, eta_seconds=None)
    assert Pace().of(replace(ROWS, catalog=slow)) == "0.4 rows/s"


def test_bytes_are_counted_while_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = Pace()
    assert amount(BYTES) == "3.1 MB of 20.0 MB"
    assert pace.of(BYTES) == ""
    monkeypatch.setattr(bars, "MEASURED_SECONDS", 0)
    assert pace.of(BYTES).endswith(" MB/s")
    assert amount(Progress("uploading", 36_000, 36_000)) == "36 kB of 36 kB"


def test_unknown_pace_is_not_shown() -> None:
    new = replace(CATALOG, rows_per_second=None, eta_seconds=None)
    told = Progress("validating", 0, 0, new)
    assert (amount(told), Pace().of(told)) == ("", "")


def test_terminal_shows_bars() -> None:
    output = io.StringIO()
    with progress_shown(screen_on(output, is_terminal=True)) as show:
        show(BYTES)
        show(Progress("validating", 0, 0, CATALOG))
        show(ROWS)
        assert isinstance(show, Bars)
        assert [task.finished for task in show.tasks] == [True, True, False]
    shown = output.getvalue()
    assert "━" in shown
    assert "1,200 of 50,000 rows" in shown
    assert "2 min 23 s left" in shown


def test_log_gets_one_line_per_stage_and_interval() -> None:
    output = io.StringIO()
    with progress_shown(screen_on(output, is_terminal=False)) as show:
        assert isinstance(show, Lines)
        for told in (BYTES, BYTES, ROWS, ROWS, ROWS):
            show(told)
    assert [line.split(":")[0] for line in output.getvalue().splitlines()] == [
        "Uploading",
        "Classifying",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_are_formatted(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_control_characters_are_replaced() -> None:
    assert printable("a\x1b[2Jb\x07\tçœ.csv") == "a�[2Jb��çœ.csv"


def test_missing_time_is_none() -> None:
    assert moment(None) is None
