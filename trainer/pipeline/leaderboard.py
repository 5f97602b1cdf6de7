"""All candidates of a run side by side, and the choice among them."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np

from trainer.release.evaluation import Figures

Item = TypeVar("Item")

#: Calls before the first that is timed.
WARM_UP = 3


@dataclass(frozen=True)
class Entry:
    """One candidate.

    Attributes:
        modality: `text`, `image` or `fusion`.
        validation: On held-out rows that decide.
        test: On rows that only report; `None` where there are none.
        before_calibration: Expected calibration error and log loss on `test` without calibration.
        latency_ms: Median time of one product alone, in milliseconds.
        items_per_second: In batches.
        size_bytes: Of the exported model.
        note: Why it was not tried or cannot be served.
    """

    name: str
    modality: str
    validation: Figures | None = None
    test: Figures | None = None
    before_calibration: tuple[float, float] | None = None
    latency_ms: float = 0.0
    items_per_second: float = 0.0
    size_bytes: int = 0
    fit_seconds: float = 0.0
    is_chosen: bool = False
    note: str = ""

    @property
    def is_servable(self) -> bool:
        """Whether it can be chosen at all."""
        return self.validation is not None and not self.note


def choose(entries: Iterable[Entry], *, budget_ms: float) -> Entry | None:
    """The best within the latency budget: least log loss on the rows that decide; ties: the faster.

    Log loss and not F1: it counts how sure a model is of every row, and so tells models apart that
    F1 on a thousand rows cannot; and confidence is what fusion stands on.
    """
    within = [one for one in entries if one.is_servable and one.latency_ms <= budget_ms]
    return min(within, key=_merit) if within else None


def marked(entries: Iterable[Entry], chosen: Entry | None) -> list[Entry]:
    """Entries with the choice marked, best first; those without figures last."""
    found = [replace(one, is_chosen=chosen is not None and one == chosen) for one in entries]
    return sorted(found, key=_merit)


def measure_latency(
    call: Callable[[Sequence[Item]], object], items: Sequence[Item], *, batch: int
) -> tuple[float, float]:
    """Median milliseconds of single items, and items per second in batches; both warm."""
    for item in items[:WARM_UP]:
        call([item])
    singles = []
    for item in items:
        started = time.perf_counter()
        call([item])
        singles.append(time.perf_counter() - started)
    started = time.perf_counter()
    for start in range(0, len(items), batch):
        call(items[start : start + batch])
    return float(np.median(singles)) * 1000, len(items) / (time.perf_counter() - started)


def as_markdown(entries: Sequence[Entry]) -> str:
    """The leaderboard as a table."""
    lines = [
        "| candidate | for | validation F1 | log loss | test F1 | official | log loss | ECE "
        "| log loss, ECE uncalibrated | ms | per s | MB | fit s | |",
        "|---|---|" + "---:|" * 11 + "---|",
    ]
    lines += [_row(entry) for entry in entries]
    return "\n".join(lines)


def as_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The leaderboard for programs."""
    return [asdict(entry) for entry in entries]


def _merit(entry: Entry) -> tuple[str, float, float]:
    loss = entry.validation.log_loss if entry.validation else float("inf")
    return entry.modality, round(loss, 4), entry.latency_ms


def _row(entry: Entry) -> str:
    name = f"**{entry.name}**" if entry.is_chosen else entry.name
    if entry.validation is None:
        return f"| {name} | {entry.modality} |" + " – |" * 11 + f" {entry.note} |"
    before = entry.before_calibration
    cells = [
        f"{entry.validation.f1_plain:.4f}",
        f"{entry.validation.log_loss:.3f}",
        *(
            [
                f"{entry.test.f1_plain:.4f}",
                f"{entry.test.f1_official:.4f}",
                f"{entry.test.log_loss:.3f}",
                f"{entry.test.calibration_error:.3f}",
            ]
            if entry.test
            else ["–"] * 4
        ),
        f"{before[1]:.3f}, {before[0]:.3f}" if before else "–",
        f"{entry.latency_ms:.1f}",
        f"{entry.items_per_second:.0f}",
        f"{entry.size_bytes / 1e6:.1f}",
        f"{entry.fit_seconds:.0f}",
        "chosen" if entry.is_chosen else entry.note,
    ]
    return f"| {name} | {entry.modality} | {' | '.join(cells)} |"
