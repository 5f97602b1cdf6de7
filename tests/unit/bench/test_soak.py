"""Start and end of the series of `make soak`."""

import math

import pytest

from tests.bench.soak.report import Change, Series, add_minute, changes, table


def test_start_and_end_are_means_of_their_minutes() -> None:
    series = {"gateway PSS MB": [float(minute) for minute in range(1, 61)]}
    (found,) = changes(series)
    assert (found.start, found.end) == (5.0, 58.0)
    assert found.ratio == pytest.approx(11.6)


def test_missing_minutes_are_left_out() -> None:
    values = [math.nan, math.nan, 10.0, math.nan, 20.0, 30.0, 40.0, 50.0]
    (found,) = changes({"trainer fds": values})
    assert (found.start, found.end) == (25.0, 35.0)


def test_series_without_a_start_is_left_out() -> None:
    assert changes({"trainer fds": [math.nan] * 20 + [5.0] * 5}) == []


@pytest.mark.parametrize(
    ("name", "start", "end", "is_flat"),
    [
        ("gateway PSS MB", 200.0, 219.0, True),
        ("gateway PSS MB", 200.0, 221.0, False),
        ("redis PSS MB", 3.0, 6.5, True),
        ("gateway fds", 20.0, 23.0, True),
        ("gateway fds", 20.0, 24.0, False),
        ("gateway threads", 10.0, 13.0, False),
        ("text p95 ms", 100.0, 50.0, True),
        ("text p95 ms", 100.0, 111.0, False),
    ],
)
def test_growth_beyond_a_tenth_is_not_flat(
    name: str, start: float, end: float, is_flat: bool
) -> None:
    assert Change(name, start, end).is_flat is is_flat


def test_table_marks_what_grew() -> None:
    _, flat, grown = table([Change("redis fds", 60, 61), Change("gateway fds", 60, 90)])
    assert "NOT FLAT" not in flat
    assert grown.endswith("1.50  NOT FLAT")


def test_program_that_appears_later_has_no_earlier_minutes() -> None:
    series = Series(list)
    add_minute(series, 1, {"redis fds": 1.0})
    add_minute(series, 2, {"redis fds": 2.0, "trainer fds": 3.0})
    add_minute(series, 3, {"trainer fds": 4.0})
    assert series["redis fds"][:2] == [1.0, 2.0]
    assert [math.isnan(value) for value in series["redis fds"]] == [False, False, True]
    assert [math.isnan(value) for value in series["trainer fds"]] == [True, False, False]
