"""The story of a shop after a change: windows, alert, verdicts, and the share recovered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from tests.bench.quality.recovery.stream import Window

#: Share of the loss that must be recovered, and the least loss that counts as one: chance alone
#: moves the F1 of two windows of 500 products by this much.
WANTED, LEAST_LOSS = 0.8, 0.02
#: Windows over which F1 is averaged before the change and at the end.
AVERAGED = 2
#: Kinds that must end as they should, of those that change.
NEEDED = 4
CONTROL = "control"


class Outcome(StrEnum):
    """Outcome of a story; see `RULE`."""

    RECOVERED = "recovered"
    NOT_RECOVERED = "not recovered"
    NOTHING_LOST = "nothing lost"
    #: Outcomes of the control only.
    NOTHING_PROMOTED = "nothing promoted"
    PROMOTED = "promoted"
    FAILED = "failed"


#: Outcomes that are wanted. A kind that lost nothing cannot recover it, and is counted apart.
GOOD = (Outcome.RECOVERED, Outcome.NOTHING_LOST, Outcome.NOTHING_PROMOTED)
RULE = (
    f"recovered: after a promotion, the mean F1 of the last {AVERAGED} windows has regained "
    f"{WANTED:.0%} of what the worst window lost of the mean before; nothing lost: no window is "
    f"{LEAST_LOSS:g} or more below that mean, so there is nothing to recover"
)


@dataclass
class Story:
    """One kind of change.

    Attributes:
        before: Windows before the change.
        after: Windows after it.
        champion: Release that served before the change.
        alert: The first alert, with the products, labels and minutes until it.
        verdicts: Messages of the trainings since the change.
        promotions: Lines of the ledger since the change, oldest first.
        failure: Reason why the story ended early.
    """

    name: str
    about: str
    champion: str = ""
    before: list[Window] = field(default_factory=list)
    after: list[Window] = field(default_factory=list)
    alert: dict[str, Any] | None = None
    alerts: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    promotions: list[dict[str, Any]] = field(default_factory=list)
    minutes: float = 0.0
    failure: str = ""

    @property
    def f1_before(self) -> float:
        """F1 before the change."""
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
    def recovered(self) -> float | None:
        """Share of the loss that was recovered; `None` if nothing was lost."""
        loss = self.f1_before - self.f1_worst
        return (self.f1_after - self.f1_worst) / loss if loss >= LEAST_LOSS else None

    @property
    def is_over(self) -> bool:
        """True once the loss is recovered for as long as F1 is averaged, after a promotion."""
        served = [window.release for window in self.after[-AVERAGED:]]
        is_replaced = len(served) == AVERAGED and self.champion not in served
        return is_replaced and (self.recovered or 0.0) >= WANTED

    @property
    def outcome(self) -> Outcome:
        """Outcome by `RULE`; of the control, whether anything was promoted."""
        if self.failure or not self.after:
            return Outcome.FAILED
        if self.name == CONTROL:
            return Outcome.PROMOTED if self.promotions else Outcome.NOTHING_PROMOTED
        if self.recovered is None:
            return Outcome.NOTHING_LOST
        is_recovered = bool(self.promotions) and self.recovered >= WANTED
        return Outcome.RECOVERED if is_recovered else Outcome.NOT_RECOVERED

    def figures(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        found = {**vars(self), "outcome": self.outcome.value}
        found["before"], found["after"] = ([vars(one) for one in part] for part in self._parts)
        if self.after:
            found |= {
                "f1_before": round(self.f1_before, 4),
                "f1_worst": round(self.f1_worst, 4),
                "f1_after": round(self.f1_after, 4),
                "recovered": None if self.recovered is None else round(self.recovered, 3),
            }
        return found

    @property
    def _parts(self) -> tuple[list[Window], list[Window]]:
        return self.before, self.after


def lines(story: Story) -> list[str]:
    """Return a story as lines of text."""
    found = [f"\n{story.name}: {story.about}"]
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
    if story.failure:
        found.append(f"  failed       {story.failure}")
    return found


def table(stories: Sequence[Story]) -> list[str]:
    """Return the outcome of all kinds as a table."""
    found = [
        f"\n{'change':<13} {'before':>6} {'worst':>6} {'after':>6} {'recovered':>9} "
        f"{'alert after':>11} {'labels':>6} {'promoted':>8}  outcome"
    ]
    for story in stories:
        if not story.after:
            found.append(f"{story.name:<13} {story.failure}")
            continue
        share = "-" if story.recovered is None else f"{story.recovered:.0%}"
        alert = story.alert["products"] if story.alert else "none"
        labels = sum(window.labels for window in story.after)
        found.append(
            f"{story.name:<13} {story.f1_before:6.3f} {story.f1_worst:6.3f} {story.f1_after:6.3f} "
            f"{share:>9} {alert:>11} {labels:>6} {len(story.promotions):>8}  "
            f"{story.outcome.value}"
        )
    return found


def is_as_wanted(stories: Sequence[Story]) -> bool:
    """Return True if four of five kinds end as they should, and the control promotes nothing."""
    changes = [story for story in stories if story.name != CONTROL]
    good = [story for story in stories if story.outcome in GOOD]
    controls = len(stories) - len(changes)
    needed = min(NEEDED, len(changes))
    is_control_good = sum(story.name == CONTROL for story in good) == controls
    return is_control_good and sum(story.name != CONTROL for story in good) >= needed


def conclusion(stories: Sequence[Story]) -> list[str]:
    """Return the number of kinds by outcome, and the rule, as lines of text."""
    changes = [story.outcome for story in stories if story.name != CONTROL]
    controls = [story.outcome for story in stories if story.name == CONTROL]
    found = []
    if changes:
        counts = [f"{changes.count(one)} {one.value}" for one in Outcome if one in changes]
        needed = min(NEEDED, len(changes))
        found.append(
            f"\nkinds of change, {len(changes)}: {', '.join(counts)}; wanted: at least {needed} "
            "that recovered or lost nothing"
        )
        found.append(f"  {RULE}")
    found += [f"control: {one.value}; wanted: {Outcome.NOTHING_PROMOTED.value}" for one in controls]
    return [*found, "as wanted" if is_as_wanted(stories) else "NOT as wanted"]


def _row(story: Story, values: Sequence[float]) -> str:
    cells = [f"{value:.3f}" for value in values]
    return " ".join([*cells[: len(story.before)], "|", *cells[len(story.before) :]])


def _mean(windows: Sequence[Window]) -> float:
    return float(np.mean([window.true for window in windows]))
