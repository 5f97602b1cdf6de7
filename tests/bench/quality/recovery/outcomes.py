"""Outcomes of the kinds of change over their runs, and the rule by which they are counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import mean
from typing import Any

from tests.bench.quality.recovery.held_products import Held, regained_share
from tests.bench.quality.recovery.story import AVERAGED, HELD_FIGURES, Story
from trainer.release.intervals import Interval

#: Share of the loss that must be regained, and the least loss that counts as one: chance moves a
#: difference of F1 between 2,550 and 6,400 products by .01.
WANTED, LEAST_LOSS = 0.8, 0.02
#: Kinds that must end as they should, of those that change.
NEEDED = 4
CONTROL = "control"


class Outcome(StrEnum):
    """Outcome of a kind; see `RULE`."""

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
    f"recovered: the releases at the end regain {WANTED:.0%} or more of the F1 that the change "
    "cost the first ones, summed over the runs, on products that none has seen; nothing lost: the "
    f"mean loss is below {LEAST_LOSS:g}, so there is nothing to regain"
)


@dataclass(frozen=True)
class Kind:
    """The runs of one kind of change, at least one."""

    stories: Sequence[Story]

    @property
    def name(self) -> str:
        """Name of the kind."""
        return self.stories[0].name

    @property
    def held(self) -> list[Held]:
        """Answers to the held products of the runs that came to their end."""
        return [story.held for story in self.stories if story.held is not None]

    @property
    def has_loss(self) -> bool:
        """True if the runs lost F1 on average, more than chance moves."""
        return bool(self.held) and mean(one.lost for one in self.held) >= LEAST_LOSS

    @property
    def share(self) -> Interval | None:
        """Share of the loss that was regained over all runs; `None` if nothing was lost."""
        return regained_share(self.held) if self.has_loss else None

    @property
    def shares(self) -> list[float]:
        """Share of each run that lost something."""
        return [one.regained / one.lost for one in self.held if one.lost >= LEAST_LOSS]

    @property
    def outcome(self) -> Outcome:
        """Outcome by `RULE`; of the control, whether anything was promoted."""
        if any(story.failure or story.held is None for story in self.stories):
            return Outcome.FAILED
        if self.name == CONTROL:
            is_promoted = any(story.promotions for story in self.stories)
            return Outcome.PROMOTED if is_promoted else Outcome.NOTHING_PROMOTED
        share = self.share
        if share is None:
            return Outcome.NOTHING_LOST
        return Outcome.RECOVERED if share.value >= WANTED else Outcome.NOT_RECOVERED

    def figures(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        share = self.share
        return {
            "name": self.name,
            "outcome": self.outcome.value,
            "share": None if share is None else vars(share),
            "shares": self.shares,
            "runs": [story.figures() for story in self.stories],
        }


def table(kinds: Sequence[Kind]) -> list[str]:
    """Return a line for each run and one for each kind as a table."""
    found = [
        f"\nF1 of the stream: before, worst window, last {AVERAGED} windows | of the first "
        "release before and after the change | of the first and the last release on held products",
        f"{'change':<13} {'seed':>4} | {'before':>6} {'worst':>6} {'last':>6} | {'before':>6} "
        f"{'after':>6} {'lost':>6} | {'first':>6} {'last':>6} {'regained':>8} | {'alert':>5} "
        f"{'promoted':>8} {'labels':>6} {'times':>5}",
    ]
    for kind in kinds:
        found += [_of_run(story) for story in kind.stories]
        found.append(f"  {_of_kind(kind)}")
    return [*found, "alert, promoted: products after the change until then"]


def is_as_wanted(kinds: Sequence[Kind]) -> bool:
    """Return True if four of five kinds end as they should, and the control promotes nothing."""
    changes = [kind for kind in kinds if kind.name != CONTROL]
    good = [kind.name for kind in kinds if kind.outcome in GOOD]
    are_controls_good = good.count(CONTROL) == len(kinds) - len(changes)
    return are_controls_good and len(good) - good.count(CONTROL) >= min(NEEDED, len(changes))


def conclusion(kinds: Sequence[Kind]) -> list[str]:
    """Return the number of kinds by outcome, and the rule, as lines of text."""
    changes = [kind.outcome for kind in kinds if kind.name != CONTROL]
    controls = [kind.outcome for kind in kinds if kind.name == CONTROL]
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
    return [*found, "as wanted" if is_as_wanted(kinds) else "NOT as wanted"]


def _of_run(story: Story) -> str:
    begun = f"{story.name:<13} {story.seed:>4} |"
    if story.held is None:
        return f"{begun} failed: {story.failure}"
    stream = (story.f1_before, story.f1_worst, story.f1_after)
    held = [f"{getattr(story.held, name):6.3f}" for name in HELD_FIGURES]
    alert = story.alert["products"] if story.alert else "none"
    promoted = "never" if story.promoted_after is None else story.promoted_after
    return (
        f"{begun} {' '.join(f'{one:6.3f}' for one in stream)} | "
        f"{' '.join(held[:3])} | {' '.join(held[3:5])} {held[5]:>8} | {alert:>5} "
        f"{promoted:>8} {sum(window.labels for window in story.after):>6} "
        f"{len(story.promotions):>5}"
    )


def _of_kind(kind: Kind) -> str:
    outcome, share = f"{kind.name}: {kind.outcome.value}", kind.share
    if share is None:
        return outcome
    runs = ", ".join(f"{one:.0%}" for one in sorted(kind.shares))
    return (
        f"{outcome}, {share.value:.0%} regained (95 % interval {share.low:.0%} to {share.high:.0%} "
        f"by the choice of the products; runs: {runs})"
    )
