"""Steps of a catalog, and how the cost of a row grows from one to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression

#: Rows of the slope's unit.
SLOPE_ROWS = 100_000


@dataclass(frozen=True)
class Step:
    """Figures of some rows of a catalog.

    Attributes:
        first: Rows done before.
        rows: Rows done meanwhile; of the check, all rows.
        seconds: Duration.
        cpu_seconds: CPU time by program.
        computation_ms: Median time of the reference's computation.
        pss_mb: Memory of the system at the end (proportional set size).
        database_mb: Size of the database's files at the end.
    """

    first: int
    rows: int
    seconds: float
    cpu_seconds: Mapping[str, float]
    computation_ms: float
    pss_mb: float
    database_mb: float


def cost(step: Step) -> float:
    """Return the CPU time per row of all programs, in milliseconds."""
    return 1000 * sum(step.cpu_seconds.values()) / step.rows


def halves(steps: Sequence[Step]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the CPU time per row of each program in both halves of the rows, in milliseconds.

    A step belongs to the half in which its middle lies.
    """
    half = (steps[-1].first + steps[-1].rows) / 2
    parts = (
        [step for step in steps if step.first + step.rows / 2 <= half],
        [step for step in steps if step.first + step.rows / 2 > half],
    )
    names = sorted({name for step in steps for name in step.cpu_seconds})
    earlier, later = (
        {
            name: 1000
            * sum(step.cpu_seconds.get(name, 0.0) for step in part)
            / max(1, sum(step.rows for step in part))
            for name in names
        }
        for part in parts
    )
    return earlier, later


def slope(steps: Sequence[Step]) -> float:
    """Return the growth of the CPU time per row in % of its mean per `SLOPE_ROWS` rows.

    The line is fitted by least squares to the steps, each at the middle of its rows.
    """
    costs = [cost(step) for step in steps]
    middles = [(step.first + step.rows / 2) / SLOPE_ROWS for step in steps]
    return 100 * linear_regression(middles, costs).slope / (sum(costs) / len(costs))
