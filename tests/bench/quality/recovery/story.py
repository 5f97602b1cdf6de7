"""The story of one run: windows, alert, verdicts, and what was lost and regained."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.lifecycle.alerts import PROMOTION, ROUTINE
from tests.bench.quality.recovery.held_products import Held
from tests.bench.quality.recovery.stream import Window

#: Windows over which F1 of the stream is averaged before the change and at the end.
AVERAGED = 2
HELD_FIGURES = ("first_before", "first_after", "lost", "first_held", "last_held", "regained")


@dataclass
class Story:
    """One run of a kind of change.

    Attributes:
        seed: Seed that drew its products.
        before: Windows before the change.
        after: Windows after it.
        champion: Release that served before the change.
        alert: The first alert about a change, with the products, labels and minutes until it.
        verdicts: Messages of the trainings since the change.
        promotions: Lines of the ledger since the change, oldest first.
        held: Answers to products that no release has seen; `None` until the end of the story.
        failure: Reason why the story ended early.
    """

    name: str
    about: str
    seed: int = 0
    champion: str = ""
    before: list[Window] = field(default_factory=list)
    after: list[Window] = field(default_factory=list)
    alert: dict[str, Any] | None = None
    alerts: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    promotions: list[dict[str, Any]] = field(default_factory=list)
    held: Held | None = None
    minutes: float = 0.0
    failure: str = ""

    @property
    def f1_before(self) -> float:
        """F1 of the stream before the change."""
        return _mean(self.before)

    @property
    def f1_worst(self) -> float:
        """F1 of the worst window after the change."""
        return min(window.true for window in self.after)

    @property
    def f1_after(self) -> float:
        """F1 of the last windows."""
        return _mean(self.after[-AVERAGED:])

    @property
    def promoted_after(self) -> int | None:
        """Products after the change until another release served; `None` if none did."""
        served = [window.release for window in self.after]
        others = [place for place, one in enumerate(served) if one != self.champion]
        return sum(window.products for window in self.after[: others[0]]) if others else None

    def figures(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        found = {**vars(self), "promoted_after": self.promoted_after}
        found["before"], found["after"] = ([vars(one) for one in part] for part in self._parts)
        if self.after:
            found |= {
                name: round(getattr(self, name), 4)
                for name in ("f1_before", "f1_worst", "f1_after")
            }
        if self.held is not None:
            found["held"] = {name: round(getattr(self.held, name), 4) for name in HELD_FIGURES}
        return found

    @property
    def _parts(self) -> tuple[list[Window], list[Window]]:
        return self.before, self.after


def first_change(alerts: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the first alert about a change, oldest first; the others come without one too."""
    changes = [one for one in alerts if one["kind"] not in (*ROUTINE, PROMOTION)]
    return changes[0] if changes else None


def lines(story: Story) -> list[str]:
    """Return a story as lines of text."""
    found = [f"\n{story.name}, seed {story.seed}: {story.about}"]
    windows = [*story.before, *story.after]
    found += [
        f"  F1 {name:<9} {_row(story, [getattr(one, name) for one in windows])}"
        for name in ("true", "estimated", "labelled")
    ]
    found.append(f"  release      {' '.join(f'{one.release:>5}' for one in windows)}")
    found.append(f"  labels       {' '.join(f'{one.labels:>5}' for one in windows)}")
    found.append(f"  moved        {', '.join('+'.join(one.moved) or '-' for one in windows)}")
    refused = [text for one in windows for text in one.refused]
    if refused:
        found.append(f"  refused      {len(refused)} labels: {refused[0]}")
    if story.alert is not None:
        found.append(
            f"  alert        {story.alert['kind']} after {story.alert['products']} products, "
            f"{story.alert['labels']} labels and {story.alert['minutes']} minutes"
        )
    found += [f"  verdict      {verdict}" for verdict in story.verdicts]
    if story.held is not None:
        held = story.held
        found.append(
            f"  lost         {held.lost:.3f}: F1 of the first release {held.first_before:.3f}, "
            f"after the change {held.first_after:.3f}"
        )
        found.append(
            f"  regained     {held.regained:.3f}: on the held products {held.first_held:.3f}, "
            f"of the last release {held.last_held:.3f}"
        )
    if story.failure:
        found.append(f"  failed       {story.failure}")
    return found


def _row(story: Story, values: Sequence[float]) -> str:
    cells = [f"{value:.3f}" for value in values]
    return " ".join([*cells[: len(story.before)], "|", *cells[len(story.before) :]])


def _mean(windows: Sequence[Window]) -> float:
    return float(np.mean([window.true for window in windows]))
