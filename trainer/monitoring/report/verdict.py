"""Is it still good? Stated rules, each with the figures that made it fire or not. Pure.

`retrain` if a rule of that level fires, else `watch` if one of that level does, else `healthy`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import hypot

#: Smallest loss of F1 that anybody would act on; a new release has to gain a tenth of it at least.
LOSS = 0.02
#: An estimate is blind to what categories mean; alone it starts a training for a larger loss.
LARGE_LOSS = 0.05
#: A category may fall further than all of them together.
CLASS_LOSS = 0.1
#: Reviewed answers below this number decide nothing, of all and of one category.
LEAST_LABELS, LEAST_CLASS_LABELS = 100, 30
#: A month with fewer answers is told of and not judged.
LEAST_ANSWERS = 200
FAILED_SHARE, DEGRADED_SHARE = 0.02, 0.05
#: Of the windows of drift; one that moved alone may be a single large catalog.
MOVED_SHARE = 0.25
#: Characters of an alert's summary that a rule repeats; the page has the whole of it.
LONGEST = 120
#: Of single jobs, 95 of 100 in so many seconds.
SLOW_SECONDS = 5.0


class Level(StrEnum):
    """What the product owner should do."""

    HEALTHY = "healthy"
    WATCH = "watch"
    RETRAIN = "retrain"


@dataclass(frozen=True)
class Measured:
    """An F1 with its 95 % interval; without an interval it is only what somebody says."""

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
    """What a month shows; `None` where something was not measured.

    Attributes:
        test: Of the release that serves at the end, on its held-out rows.
        labelled: Of reviewed answers, weighted so that they stand for all.
        estimated: Of all answers, without labels.
        past_error: How far earlier estimates were off.
        classes: By name, the labelled figures of the month before and of this one.
        windows: How many windows of answers were compared with the reference, how many had moved.
        alerts: What was raised about what comes in, and what it said.
        promoted: Since when a release serves that took over in the last two weeks.
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
    classes: dict[str, tuple[Measured, Measured]] = field(default_factory=dict)
    windows: int = 0
    moved: int = 0
    alerts: Sequence[str] = ()
    slow_seconds: float | None = None
    promoted: str | None = None


@dataclass(frozen=True)
class Finding:
    """What came of a rule; `fired` is `None` where there is too little to tell."""

    rule: str
    level: Level
    fired: bool | None
    found: str


@dataclass(frozen=True)
class Verdict:
    """The level, a sentence, and what came of every rule."""

    level: Level
    sentence: str
    findings: tuple[Finding, ...]


def judge(evidence: Evidence) -> Verdict:
    """Apply every rule."""
    if evidence.answered + evidence.failed == 0:
        return Verdict(Level.WATCH, "Nothing was answered, so nothing can be said about it.", ())
    findings = tuple(rule(evidence) for rule in RULES)
    fired = [one for one in findings if one.fired]
    for level in (Level.RETRAIN, Level.WATCH):
        reasons = [one.found for one in fired if one.level is level]
        if reasons and level is Level.RETRAIN and evidence.promoted:
            said = f"{reasons[0]} But {evidence.promoted}, and its first whole month will tell."
            return Verdict(Level.WATCH, said, findings)
        if reasons:
            return Verdict(level, " ".join(reasons[:2]), findings)
    if evidence.answered < LEAST_ANSWERS:
        said = f"Only {evidence.answered} products were answered: too few to judge the models by."
        return Verdict(Level.WATCH, said, findings)
    return Verdict(Level.HEALTHY, _praise(evidence), findings)


def labels_against_test(evidence: Evidence) -> Finding:
    """Answers that people reviewed, against the held-out rows."""
    rule = (
        f"F1 of reviewed answers is lower than on the test set by {LOSS:.2f} or more, beyond chance"
    )
    labelled, test = evidence.labelled, evidence.test
    if test is None or labelled is None or labelled.rows < LEAST_LABELS:
        return Finding(rule, Level.RETRAIN, None, _too_few(labelled))
    found = f"F1 of reviewed answers is {_told(labelled)}, on the test set it was {test.f1:.3f}."
    return Finding(rule, Level.RETRAIN, _fell(test, labelled, LOSS), found)


def labels_against_before(evidence: Evidence) -> Finding:
    """Answers that people reviewed, against the month before."""
    rule = f"F1 of reviewed answers fell by {LOSS:.2f} or more since last month, beyond chance"
    labelled, before = evidence.labelled, evidence.labelled_before
    if labelled is None or labelled.rows < LEAST_LABELS:
        return Finding(rule, Level.RETRAIN, None, _too_few(labelled))
    if before is None or before.rows < LEAST_LABELS:
        return Finding(rule, Level.RETRAIN, None, "Too few answers were reviewed last month.")
    found = f"F1 of reviewed answers is {_told(labelled)} after {_told(before)} last month."
    return Finding(rule, Level.RETRAIN, _fell(before, labelled, LOSS), found)


def large_estimated_loss(evidence: Evidence) -> Finding:
    """The estimate without labels, where it is far off."""
    return _estimate(evidence, LARGE_LOSS, Level.RETRAIN)


def estimated_loss(evidence: Evidence) -> Finding:
    """The estimate without labels."""
    return _estimate(evidence, LOSS, Level.WATCH)


def fallen_classes(evidence: Evidence) -> Finding:
    """Single categories, by labels."""
    rule = (
        f"F1 of a category fell by {CLASS_LOSS:.1f} or more since last month, beyond chance, "
        f"where {LEAST_CLASS_LABELS} or more of its products were reviewed"
    )
    enough = {
        name: both
        for name, both in evidence.classes.items()
        if min(one.rows for one in both) >= LEAST_CLASS_LABELS
    }
    if not enough:
        return Finding(rule, Level.WATCH, None, "No category has that many in both months.")
    fallen = [
        f"{name} from {before.f1:.2f} to {now.f1:.2f}"
        for name, (before, now) in enough.items()
        if _fell(before, now, CLASS_LOSS)
    ]
    found = f"Fallen: {', '.join(fallen)}." if fallen else f"None of {len(enough)} categories fell."
    return Finding(rule, Level.WATCH, bool(fallen), found)


def drift(evidence: Evidence) -> Finding:
    """What comes in, against what the models were fitted on."""
    rule = (
        "What comes in moved away from what the models were fitted on: an alert was raised, or "
        f"{MOVED_SHARE:.0%} of the windows had moved"
    )
    if not evidence.windows and not evidence.alerts:
        return Finding(rule, Level.WATCH, None, "No window was compared with the reference.")
    found = f"{evidence.moved} of {_count(evidence.windows, 'window')} had moved"
    if evidence.alerts:
        raised = _count(len(evidence.alerts), "alert")
        found += f", {raised} raised: {_short(evidence.alerts[0])}"
    often = evidence.moved >= 2 and evidence.moved >= MOVED_SHARE * evidence.windows
    return Finding(rule, Level.WATCH, bool(evidence.alerts) or often, f"{found}.")


def failures(evidence: Evidence) -> Finding:
    """Jobs without an answer."""
    rule = f"More than {FAILED_SHARE:.0%} of the products failed"
    ended = evidence.answered + evidence.failed
    found = f"{evidence.failed:,} of {ended:,} products failed ({evidence.failed / ended:.2%})."
    return Finding(rule, Level.WATCH, evidence.failed / ended > FAILED_SHARE, found)


def degraded_answers(evidence: Evidence) -> Finding:
    """Answers that a part of the product had no say in."""
    rule = f"More than {DEGRADED_SHARE:.0%} of the answers were degraded"
    share = evidence.degraded / max(evidence.answered, 1)
    found = (
        f"{evidence.degraded:,} of {evidence.answered:,} answers are from less than was sent, such "
        f"as an unreadable image ({share:.2%})."
    )
    return Finding(rule, Level.WATCH, share > DEGRADED_SHARE, found)


def slowness(evidence: Evidence) -> Finding:
    """How long single products took."""
    rule = f"5 of 100 single products take longer than {SLOW_SECONDS:g} s"
    if evidence.slow_seconds is None:
        return Finding(rule, Level.WATCH, None, "No single product was answered.")
    found = f"95 of 100 were answered within {evidence.slow_seconds:.2f} s."
    return Finding(rule, Level.WATCH, evidence.slow_seconds > SLOW_SECONDS, found)


RULES: tuple[Callable[[Evidence], Finding], ...] = (
    labels_against_test,
    labels_against_before,
    large_estimated_loss,
    estimated_loss,
    fallen_classes,
    drift,
    failures,
    degraded_answers,
    slowness,
)


def _estimate(evidence: Evidence, loss: float, level: Level) -> Finding:
    rule = (
        f"F1 estimated without labels fell by {loss:.2f} or more, and by more than earlier "
        "estimates were off, beyond chance"
    )
    now, before = evidence.estimated, evidence.estimated_before
    since = "last month"
    if before is None:
        before, since = evidence.test, "the test set"
    if now is None or before is None:
        return Finding(rule, level, None, "There is no estimate to compare.")
    enough = now.rows >= LEAST_ANSWERS
    off = "unknown" if evidence.past_error is None else f"{evidence.past_error:.3f}"
    found = (
        f"The estimate is {_told(now)} after {_told(before)} of {since}; earlier estimates were "
        f"off by {off}."
    )
    fell = _fell(before, now, max(loss, evidence.past_error or 0.0))
    return Finding(rule, level, fell if enough else None, found)


def _fell(before: Measured, now: Measured, loss: float) -> bool:
    """Whether the loss is large enough, and the 95 % interval of the difference below zero."""
    fallen = before.f1 - now.f1
    # Two independent samples: variances add up, and half widths are as standard deviations.
    return fallen >= loss and fallen > hypot(before.half, now.half)


def _praise(evidence: Evidence) -> str:
    parts = []
    if evidence.labelled is not None and evidence.labelled.rows >= LEAST_LABELS:
        parts.append(f"F1 of reviewed answers is {_told(evidence.labelled)}")
    if evidence.estimated is not None:
        parts.append(f"the estimate without labels is {_told(evidence.estimated)}")
    said = ", ".join(parts) or f"{evidence.answered:,} products were answered"
    return f"No rule fired: {said}."


def _too_few(labelled: Measured | None) -> str:
    rows = labelled.rows if labelled else 0
    return f"{_count(rows, 'answer')} reviewed; {LEAST_LABELS} are needed to tell."


def _told(one: Measured) -> str:
    if one.low is None or one.high is None:
        return f"{one.f1:.3f}"
    return f"{one.f1:.3f} ({one.low:.3f} to {one.high:.3f})"


def _short(summary: str) -> str:
    first = summary.rstrip(".")
    return first if len(first) <= LONGEST else f"{first[: LONGEST - 1].rstrip(' ,')}…"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
