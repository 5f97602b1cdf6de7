"""Figure of one attack, and the table of all."""

from collections.abc import Sequence
from dataclasses import dataclass

#: Value of a figure whose control the attacked version lacks.
NO_CONTROL = "no such control"


@dataclass(frozen=True)
class Figure:
    """Result of an attack; the smaller, the better.

    Attributes:
        finding: Number of the finding that the attack belongs to, or `low`.
        attack: The attack, in a few words.
        value: What the attack reached; None if the attacked version lacks the control.
        unit: Unit of the value.
        limit: Largest value that counts as held.
        test: Test that guards the control.
        note: Details, such as the number of attempts.
    """

    finding: str
    attack: str
    value: float | None
    unit: str
    limit: float
    test: str
    note: str = ""

    @property
    def is_held(self) -> bool:
        """True if the control held."""
        return self.value is not None and self.value <= self.limit

    @property
    def shown(self) -> str:
        """Value without needless digits."""
        return NO_CONTROL if self.value is None else f"{self.value:,.4g}"


def table(runs: dict[str, Sequence[Figure]]) -> list[str]:
    """Return the lines of one table of one or two runs; the last run decides what is held.

    Args:
        runs: Figures by the name of the attacked version, in the same order in each.
    """
    *_, latest = runs.values()
    by_attack = {
        name: {(one.finding, one.attack): one for one in found} for name, found in runs.items()
    }
    header = ["#", "attack", *runs, "unit", "limit", "", "test", "note"]
    rows = [header]
    for one in latest:
        found = [by_attack[name].get((one.finding, one.attack)) for name in runs]
        values = [figure.shown if figure else "-" for figure in found]
        verdict = "held" if one.is_held else "NOT HELD"
        limit = f"{one.limit:,.4g}"
        rows.append(
            [one.finding, one.attack, *values, one.unit, limit, verdict, one.test, one.note]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def not_held(figures: Sequence[Figure]) -> list[str]:
    """Return the attacks that reached more than their limit."""
    return [f"{one.finding} {one.attack}" for one in figures if not one.is_held]
