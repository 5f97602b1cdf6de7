"""Measures of a promoted release beside the release before; pure functions.

A release is worse by a measure if the difference is both larger than chance allows at the level of
one look and large enough to matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import NamedTuple, TypeVar

from trainer.monitoring.promotion_watch.exact_tests import (
    above_share,
    loses_more,
    more_often,
    slower,
)
from trainer.monitoring.promotion_watch.looks import FIRST_ROWS
from trainer.monitoring.promotion_watch.observations import Answer
from trainer.monitoring.promotion_watch.replies import ANSWER, Replies

FAILURES, DEGRADED, LATENCY, LABELS = "failures", "degraded", "latency", "labels"
#: Modalities whose answers are compared, with the measure of each.
AGREEMENTS = {name: f"agreement_{name}" for name in (ANSWER, "text", "image")}
MEASURES = (FAILURES, DEGRADED, LATENCY, LABELS, *AGREEMENTS.values())

_EVENTS = {FAILURES: "failed", DEGRADED: "lack a modality"}
Row = TypeVar("Row")

#: Smallest rise of the share of failed or degraded answers that matters, and loss of accuracy.
SHARE_MARGIN, ACCURACY_MARGIN = 0.05, 0.05
#: Disagreement beyond that of two equally good releases that matters.
AGREEMENT_MARGIN = 0.05
#: Slower by this factor and by this many seconds. Load and the first images of a day change the
#: time of answers more than a release does, so only a release that is far slower counts.
SLOWER_RATIO, SLOWER_SECONDS = 4.0, 1.0
#: Time after a promotion in which models are loaded and times are not compared.
WARM_UP = timedelta(seconds=60)
#: Times are not compared if products arrive this much faster than before.
BUSIER_RATIO = 2.0


@dataclass(frozen=True)
class Finding:
    """One measure at one look.

    Attributes:
        measure: One of `MEASURES`.
        rows: Rows of the new release.
        value: Figure of the new release: a share, or a ratio of times.
        before: The same of the release before; for an agreement, the largest disagreement that two
            equally good releases have.
        p_value: Probability of such a difference by chance.
        is_worse: True if it is larger than chance and than what matters.
        sentence: The figures in words.
    """

    measure: str
    rows: int
    value: float
    before: float
    p_value: float
    is_worse: bool
    sentence: str


class Pair(NamedTuple):
    """Replies of both releases to the same product."""

    before: Replies
    new: Replies
    label: int | None = None


def failures(after: Sequence[Answer], before: Sequence[Answer], level: float) -> Finding | None:
    """Compare the shares of failed answers; `None` with too few answers before."""
    return _share(FAILURES, [a.is_failed for a in after], [a.is_failed for a in before], level)


def degraded(after: Sequence[Answer], before: Sequence[Answer], level: float) -> Finding | None:
    """Compare the shares of degraded answers; `None` with too few answers before."""
    return _share(DEGRADED, [a.is_degraded for a in after], [a.is_degraded for a in before], level)


def latency(after: Sequence[Answer], before: Sequence[Answer], level: float) -> Finding | None:
    """Compare the times of single jobs with the same modalities, under no more load than before.

    Returns:
        The finding for the modalities of most jobs; `None` without a fair comparison.
    """
    new, old = timed(after), timed(before)
    if not new or not old or _per_second(new) > BUSIER_RATIO * _per_second(old):
        return None
    kinds = sorted({tuple(answer.product.modalities) for answer in new})
    groups = [(_seconds(new, kind), _seconds(old, kind)) for kind in kinds]
    seconds, seconds_before = max(groups, key=lambda group: min(map(len, group)))
    if min(len(seconds), len(seconds_before)) < FIRST_ROWS:
        return None
    usual = max(median(seconds_before), 1e-3)
    p_value = slower(seconds, seconds_before)
    # A jam of the queue lasts for a part of the answers, a slow release for all.
    is_slow = all(
        median(part) >= max(SLOWER_RATIO * usual, usual + SLOWER_SECONDS)
        for part in _halves(seconds)
    )
    return Finding(
        LATENCY,
        len(seconds),
        median(seconds) / usual,
        1.0,
        p_value,
        is_slow and p_value <= level,
        f"{len(seconds)} single jobs took {median(seconds):.2f} s (median), "
        f"{usual:.2f} s before (p {p_value:.1g})",
    )


def timed(answers: Sequence[Answer]) -> list[Answer]:
    """Return the single jobs whose time can be compared."""
    done = [a for a in answers if a.is_interactive and a.replies]
    return [a for a in done if a.submitted_at >= answers[0].submitted_at + WARM_UP]


def labels(pairs: Sequence[Pair], level: float) -> Finding | None:
    """Compare the answers of both releases to labelled products; `None` without any."""
    both = [pair for pair in pairs if ANSWER in pair.before and ANSWER in pair.new]
    if not both:
        return None
    right_before = [pair.before[ANSWER].code == pair.label for pair in both]
    right_now = [pair.new[ANSWER].code == pair.label for pair in both]
    lost = sum(old and not new for old, new in zip(right_before, right_now, strict=True))
    won = sum(new and not old for old, new in zip(right_before, right_now, strict=True))
    p_value, share, share_before = loses_more(lost, won), sum(right_now), sum(right_before)
    rows = len(both)
    return Finding(
        LABELS,
        rows,
        share / rows,
        share_before / rows,
        p_value,
        p_value <= level and lost - won >= ACCURACY_MARGIN * rows,
        f"{share} of {rows} labelled products are answered correctly, {share_before} by the "
        f"release before (p {p_value:.1g})",
    )


def agreement(
    modality: str, pairs: Sequence[Pair], accuracy: float | None, level: float
) -> Finding | None:
    """Compare the answers of both releases to the same products.

    Disagreement proves nothing by itself: a better release disagrees too. But two releases that
    both answer a share `a` of the products correctly agree on at least `a²` of them, if one errs
    independently of the other; in practice they err on the same products and agree on more. A
    release that agrees less, beyond chance and a margin, is not as good as the release before.

    Args:
        modality: `fusion`, `text` or `image`.
        pairs: Replies of both.
        accuracy: Accuracy of the release before on these products, at most; `None` if it cannot be
            estimated.
        level: Level of significance.

    Returns:
        The finding; `None` without comparable replies or an accuracy.
    """
    both = [pair for pair in pairs if modality in pair.before and modality in pair.new]
    if not both or accuracy is None:
        return None
    differ = sum(pair.before[modality].code != pair.new[modality].code for pair in both)
    most = most_disagreement(accuracy)
    rows = len(both)
    p_value = above_share(differ, rows, most)
    return Finding(
        AGREEMENTS[modality],
        rows,
        differ / rows,
        most,
        p_value,
        p_value <= level,
        f"Both releases differ on {differ} of {rows} products by {_named(modality)}; equally good "
        f"ones differ on at most {most:.0%} (p {p_value:.1g})",
    )


def most_disagreement(accuracy: float) -> float:
    """Return the largest share on which a release may differ from one of this accuracy."""
    return min(1.0, 1.0 - accuracy**2 + AGREEMENT_MARGIN)


def known_to_both(pair: Pair, codes: Mapping[str, frozenset[int]]) -> Pair:
    """Leave out the replies with a category that the other release cannot answer.

    Args:
        pair: Replies of both releases.
        codes: Categories of the release `before` and of the `new` one.
    """
    kept = [
        name
        for name in pair.before.keys() & pair.new.keys()
        if pair.before[name].code in codes["new"] and pair.new[name].code in codes["before"]
    ]
    return Pair(
        {name: pair.before[name] for name in kept},
        {name: pair.new[name] for name in kept},
        pair.label,
    )


def _share(
    measure: str, after: Sequence[bool], before: Sequence[bool], level: float
) -> Finding | None:
    if min(len(after), len(before)) < FIRST_ROWS:
        return None
    share, usual = sum(after) / len(after), sum(before) / len(before)
    p_value = more_often(sum(after), len(after), sum(before), len(before))
    # Failures of other parts come in bursts; those of a release are there from the first answer on.
    is_lasting = all(sum(part) / len(part) - usual >= SHARE_MARGIN for part in _halves(after))
    return Finding(
        measure,
        len(after),
        share,
        usual,
        p_value,
        is_lasting and p_value <= level,
        f"{sum(after)} of {len(after)} answers {_EVENTS[measure]}, {sum(before)} of {len(before)} "
        f"before (p {p_value:.1g})",
    )


def _halves(rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


def _seconds(answers: Sequence[Answer], kind: tuple[str, ...]) -> list[float]:
    return [answer.seconds for answer in answers if tuple(answer.product.modalities) == kind]


def _per_second(answers: Sequence[Answer]) -> float:
    span = (answers[-1].submitted_at - answers[0].submitted_at).total_seconds()
    return len(answers) / max(span, 1.0)


def _named(modality: str) -> str:
    return "text and image" if modality == ANSWER else modality
