"""Start and end of the series of a soak."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

#: Minutes of the start, counted from 1: the first two load models and fill caches.
FIRST, LAST = 3, 7
#: Minutes of the end.
END_MINUTES = 5
#: A series is flat if it grows by less than this share, or by less than the least amount of its
#: unit.
GROWTH = 0.10
LEAST = {"MB": 4.0, "fds": 3.0, "threads": 2.0, "ms": 5.0, "ratio": 0.2, "KB/min": 20.0, "us": 200}

Series = defaultdict[str, list[float]]


@dataclass(frozen=True)
class Change:
    """One series at the start and at the end.

    Attributes:
        name: Name of the series; its last word is the unit.
        start: Mean of the minutes 3 to 7.
        end: Mean of the last five minutes.
    """

    name: str
    start: float
    end: float

    @property
    def ratio(self) -> float:
        """End divided by start."""
        return self.end / self.start if self.start else float("nan")

    @property
    def is_flat(self) -> bool:
        """True if the growth is small."""
        least = LEAST.get(self.name.rpartition(" ")[2], 0.0)
        return self.end - self.start <= max(GROWTH * self.start, least)


def add_minute(series: Series, number: int, figures: Mapping[str, float]) -> None:
    """Append the figures of a minute, counted from 1; a series without one gets NaN."""
    for name in {*series, *figures}:
        # A program that appears later has no earlier minutes.
        series[name] += [float("nan")] * (number - 1 - len(series[name]))
        series[name].append(figures.get(name, float("nan")))


def changes(series: Mapping[str, Sequence[float]]) -> list[Change]:
    """Compare start and end of each series that is long enough for both.

    Args:
        series: One value for each minute, by name. Missing minutes are NaN.
    """
    found = []
    for name, values in sorted(series.items()):
        start, end = mean(values[FIRST - 1 : LAST]), mean(values[-END_MINUTES:])
        if start is not None and end is not None:
            found.append(Change(name, start, end))
    return found


def mean(values: Sequence[float]) -> float | None:
    """Return the mean of the values that are not NaN, or None without any."""
    present = [value for value in values if value == value]
    return fmean(present) if present else None


def table(found: Sequence[Change]) -> list[str]:
    """Return the lines of the table."""
    width = max((len(change.name) for change in found), default=0)
    header = f"{'':<{width}}{'start':>10}{'end':>10}{'ratio':>8}"
    return [header, *(_line(change, width) for change in found)]


def _line(change: Change, width: int) -> str:
    verdict = "" if change.is_flat else "  NOT FLAT"
    figures = f"{change.start:>10.1f}{change.end:>10.1f}{change.ratio:>8.2f}"
    return f"{change.name:<{width}}{figures}{verdict}"
