"""Leaderboard of a run's candidates, and the choice among them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trainer.release.evaluation import Figures


@dataclass(frozen=True)
class Entry:
    """One candidate on the leaderboard.

    Attributes:
        modality: `text`, `image` or `fusion`.
        validation: Figures on the held-out rows that decide.
        test: Figures on the `test` rows, which only report; `None` if there are no such rows.
        before_calibration: Expected calibration error and log loss on `test`, uncalibrated.
        latency_ms: Median latency of a single product, in milliseconds.
        items_per_second: Throughput in batches.
        size_bytes: Size of the exported model.
        note: Reason why it was not tried or cannot be served; empty otherwise.
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
        """True if the candidate was measured and can be served."""
        return self.validation is not None and not self.note


def choose(entries: Iterable[Entry], *, budget_ms: float) -> Entry | None:
    """Return the entry with the least log loss within the latency budget; ties go to the faster.

    Log loss decides rather than F1: it accounts for the confidence in every row and so separates
    models that F1 on a thousand rows cannot, and fusion depends on that confidence.
    """
    within = [one for one in entries if one.is_servable and one.latency_ms <= budget_ms]
    return min(within, key=_rank) if within else None


def marked(entries: Iterable[Entry], chosen: Entry | None) -> list[Entry]:
    """Return the entries with the choice marked, best first; those without figures last."""
    found = [replace(one, is_chosen=chosen is not None and one == chosen) for one in entries]
    return sorted(found, key=_rank)


def as_markdown(entries: Sequence[Entry]) -> str:
    """Return the leaderboard as a Markdown table."""
    lines = [
        "| candidate | for | validation F1 | log loss | test F1 | official | log loss | ECE "
        "| log loss, ECE uncalibrated | ms | per s | MB | fit s | |",
        "|---|---|" + "---:|" * 11 + "---|",
    ]
    lines += [_row(entry) for entry in entries]
    return "\n".join(lines)


def as_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the leaderboard as JSON-serialisable records."""
    return [asdict(entry) for entry in entries]


def _rank(entry: Entry) -> tuple[str, float, float]:
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
