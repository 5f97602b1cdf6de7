"""`make growth` repeats the rows with a text, and its slope and halves are those of the steps."""

import io

import pandas as pd
import pytest

from tests.bench.load.growth import table_of
from tests.bench.load.row_costs import Step, halves, slope


def steps(*milliseconds: float, rows: int = 100_000) -> list[Step]:
    """Return steps of as many rows, with the CPU time of a row of each."""
    return [
        Step(number * rows, rows, 1.0, {"text": rows * cost / 1000}, 2.0, 1.0, 1.0)
        for number, cost in enumerate(milliseconds)
    ]


def test_flat_cost_has_no_slope() -> None:
    assert slope(steps(4.0, 4.0, 4.0)) == pytest.approx(0.0)


def test_slope_is_in_percent_of_the_mean_per_hundred_thousand_rows() -> None:
    assert slope(steps(1.9, 2.0, 2.1)) == pytest.approx(5.0)
    assert slope(steps(1.9, 2.0, 2.1, rows=50_000)) == pytest.approx(10.0)


def test_halves_are_means_of_their_rows_by_program() -> None:
    earlier, later = halves(steps(1.0, 2.0, 3.0, 6.0))
    assert earlier == pytest.approx({"text": 1.5})
    assert later == pytest.approx({"text": 4.5})


def test_program_that_starts_later_cost_nothing_before() -> None:
    first, last = steps(1.0, 1.0)
    last = Step(**vars(last) | {"cpu_seconds": {"trainer": 100.0}})
    earlier, later = halves([first, last])
    assert earlier == pytest.approx({"text": 1.0, "trainer": 0.0})
    assert later == pytest.approx({"text": 0.0, "trainer": 1.0})


def test_table_repeats_all_rows_with_a_text_in_other_orders() -> None:
    titles = [f"title {number}" for number in range(20)]
    rows = pd.DataFrame(
        {"designation": titles, "description": "", "has_text": [True] * 19 + [False]}
    )
    found = list(pd.read_csv(io.BytesIO(table_of(rows, 45)))["designation"])
    first, second = found[:19], found[19:38]
    assert len(found) == 45
    assert first != second
    assert sorted(first) == sorted(second) == sorted(titles[:19])
