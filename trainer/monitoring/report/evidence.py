"""Figures of a month that the verdict rules compare."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Measured:
    """F1 with its 95 % interval; a figure from the release manifest has none."""

    f1: float
    low: float | None
    high: float | None
    rows: int

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return 0.0 if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True)
class Evidence:
    """Figures of a month; `None` where something was not measured.

    Attributes:
        answered: Number of answered products.
        failed: Number of failed products.
        degraded: Number of answers that ignore part of the input.
        test: F1 on the held-out test set of the last release that served.
        labelled: F1 of reviewed answers, weighted to represent all answers.
        labelled_before: The same for the previous month.
        estimated: F1 of all answers, estimated without labels.
        estimated_before: The same for the previous month.
        past_error: RMSE of earlier estimates against labels.
        not_estimated: Reason why F1 could not be estimated without labels.
        classes: Labelled figures of last month and this month, by category name.
        windows: Number of drift windows.
        moved: Number of drift windows that moved.
        alerts: Summaries of the drift alerts.
        slow_seconds: 95th percentile of the latency of single products.
        promoted: Clause about a release promoted in the last two weeks.
    """

    answered: int = 0
    failed: int = 0
    degraded: int = 0
    test: Measured | None = None
    labelled: Measured | None = None
    labelled_before: Measured | None = None
    estimated: Measured | None = None
    estimated_before: Measured | None = None
    past_error: float | None = None
    not_estimated: str | None = None
    classes: dict[str, tuple[Measured, Measured]] = field(default_factory=dict)
    windows: int = 0
    moved: int = 0
    alerts: Sequence[str] = ()
    slow_seconds: float | None = None
    promoted: str | None = None
