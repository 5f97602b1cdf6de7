"""Leaderboard of a run's candidates, with intervals; `trainer.pipeline.selection` chooses."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan
from typing import Any

from trainer.release.evaluation import Figures
from trainer.release.intervals import Interval


@dataclass(frozen=True)
class Contrast:
    """Differences to another entry on the same rows, paired.

    Attributes:
        f1: Weighted F1 of this entry - that of the other.
        log_loss: Mean log loss of this entry - that of the other, in nats; less is better.
    """

    f1: Interval
    log_loss: Interval

    @property
    def is_worse(self) -> bool:
        """True if this entry is worse beyond chance, in F1 or in log loss."""
        return self.f1.is_below_zero or self.log_loss.is_above_zero

    @property
    def beyond_chance(self) -> str:
        """Which differences are not chance: `no`, `F1`, `log loss` or `F1, log loss`."""
        found = {"F1": self.f1, "log loss": self.log_loss}
        named = [name for name, one in found.items() if one.is_above_zero or one.is_below_zero]
        return ", ".join(named) or "no"


@dataclass(frozen=True)
class Entry:
    """One candidate on the leaderboard.

    Attributes:
        modality: `text`, `image` or `fusion`.
        validation: Figures on the held-out rows that decide, cross-validated: what was tuned on
            some of these rows is measured on others.
        test: Figures on the `test` rows, which only report; `None` if there are no such rows.
        validation_f1: F1 of `validation` with its interval.
        test_f1: F1 of `test` with its interval.
        against_chosen: Differences to the chosen entry on the rows that decide.
        against_text: Differences of a fusion to the text model alone on the rows that decide.
        test_against_text: The same on the `test` rows.
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
    validation_f1: Interval | None = None
    test_f1: Interval | None = None
    against_chosen: Contrast | None = None
    against_text: Contrast | None = None
    test_against_text: Contrast | None = None
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


def marked(entries: Iterable[Entry], chosen: Entry | None) -> list[Entry]:
    """Return the entries with the choice marked, best first; those without figures last."""
    found = [replace(one, is_chosen=chosen is not None and one == chosen) for one in entries]
    return sorted(found, key=_rank)


def as_markdown(entries: Sequence[Entry]) -> str:
    """Return the leaderboard in Markdown: a table, and one of the fusions against text alone."""
    columns = (
        "validation F1 (95 %)",
        "log loss",
        "F1 - chosen (95 %)",
        "beyond chance?",
        "test F1 (95 %)",
        "official",
        "log loss",
        "ECE",
        "log loss, ECE uncalibrated",
        "ms",
        "per s",
        "MB",
        "fit s",
    )
    lines = [
        f"| candidate | for | {' | '.join(columns)} | |",
        "|---|---|" + "---:|" * len(columns) + "---|",
    ]
    lines += [_row(entry, len(columns)) for entry in entries]
    fusions = [entry for entry in entries if entry.against_text]
    return "\n".join(lines + (["", *_against_text(fusions)] if fusions else []))


def as_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the leaderboard as JSON-serialisable records."""
    return [asdict(entry) for entry in entries]


def _rank(entry: Entry) -> tuple[str, float, float]:
    loss = entry.validation.log_loss if entry.validation else float("inf")
    return entry.modality, round(loss, 4), entry.latency_ms


def _row(entry: Entry, columns: int) -> str:
    name = f"**{entry.name}**" if entry.is_chosen else entry.name
    if entry.validation is None:
        return f"| {name} | {entry.modality} |" + " – |" * columns + f" {entry.note} |"
    before, against = entry.before_calibration, entry.against_chosen
    cells = [
        _f1(entry.validation, entry.validation_f1),
        f"{entry.validation.log_loss:.3f}",
        *([against.f1.text(signed=True), against.beyond_chance] if against else ["–"] * 2),
        *(
            [
                _f1(entry.test, entry.test_f1),
                "–" if isnan(entry.test.f1_official) else f"{entry.test.f1_official:.4f}",
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


def _f1(figures: Figures, interval: Interval | None) -> str:
    return interval.text() if interval else f"{figures.f1_plain:.4f}"


def _against_text(entries: Sequence[Entry]) -> list[str]:
    """Return a table of the differences between each fusion and the text model alone."""
    lines = [
        "Fusion against text alone, on the rows with both (a difference of log loss below zero is "
        "a gain):",
        "",
        "| fusion | rows | F1 - text (95 %) | log loss - text (95 %) | test rows "
        "| F1 - text (95 %) | log loss - text (95 %) |",
        "|---|" + "---:|" * 6,
    ]
    for entry in entries:
        cells = [
            cell
            for figures, against in (
                (entry.validation, entry.against_text),
                (entry.test, entry.test_against_text),
            )
            for cell in _contrasted(figures, against)
        ]
        name = f"**{entry.name}**" if entry.is_chosen else entry.name
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _contrasted(figures: Figures | None, against: Contrast | None) -> list[str]:
    if figures is None or against is None:
        return ["–"] * 3
    pairs = (against.f1, against.log_loss)
    return [f"{figures.rows}", *(one.text(signed=True) for one in pairs)]
