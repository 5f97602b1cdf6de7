"""Verdict on the models: explicit rules, each reported with the figures that it compared.

The verdict is `retrain` if a rule of that level fires, else `watch` if a rule of that level fires,
else `healthy`. Pure functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import hypot

from trainer.monitoring.report.evidence import Evidence, Measured

#: Smallest loss of F1 worth acting on; a new release has to gain at least a tenth of it.
LOSS = 0.02
#: Loss of estimated F1 that alone starts a training; larger, as CBPE cannot see concept drift.
LARGE_LOSS = 0.05
#: Loss of a single category, which varies more than the total.
CLASS_LOSS = 0.1
#: Minimum number of reviewed answers for a rule: in total, and of one category.
LEAST_LABELS, LEAST_CLASS_LABELS = 100, 30
#: Minimum number of answers to judge a month.
LEAST_ANSWERS = 200
FAILED_SHARE, DEGRADED_SHARE = 0.02, 0.05
#: Share of drift windows that moved; a single one may be one large catalog.
MOVED_SHARE = 0.25
#: Maximum length of an alert summary in a rule; the page shows all of it.
LONGEST = 120
#: Acceptable 95th percentile of the latency of single products, in seconds.
SLOW_SECONDS = 5.0


#: Reasons why F1 cannot be estimated, by code.
NOT_ESTIMATED = {
    "unlike": "the products are too unlike those on which the release was measured",
    "foreign": "too many products look as if they belonged to none of the categories",
}


class Level(StrEnum):
    """Recommendation to the product owner."""

    HEALTHY = "healthy"
    WATCH = "watch"
    RETRAIN = "retrain"


@dataclass(frozen=True)
class Finding:
    """Result of a rule; `fired` is `None` if there is not enough data."""

    rule: str
    level: Level
    fired: bool | None
    found: str


@dataclass(frozen=True)
class Verdict:
    """Level, summary sentence, and the result of every rule."""

    level: Level
    sentence: str
    findings: tuple[Finding, ...]


def judge(evidence: Evidence) -> Verdict:
    """Apply every rule and combine the results."""
    if evidence.answered + evidence.failed == 0:
        return Verdict(Level.WATCH, "No product was answered, so there is nothing to judge.", ())
    findings = tuple(rule(evidence) for rule in RULES)
    fired = [finding for finding in findings if finding.fired]
    for level in (Level.RETRAIN, Level.WATCH):
        reasons = [finding.found for finding in fired if finding.level is level]
        if reasons and level is Level.RETRAIN and evidence.promoted:
            sentence = f"{reasons[0]} But {evidence.promoted}: wait for its first full month."
            return Verdict(Level.WATCH, sentence, findings)
        if reasons:
            return Verdict(level, " ".join(reasons[:2]), findings)
    if evidence.answered < LEAST_ANSWERS:
        sentence = f"Only {evidence.answered} products were answered: too few to judge the models."
        return Verdict(Level.WATCH, sentence, findings)
    return Verdict(Level.HEALTHY, _all_clear(evidence), findings)


def labels_against_test(evidence: Evidence) -> Finding:
    """Compare reviewed answers with the held-out test set."""
    rule = (
        f"F1 of reviewed answers is significantly lower than on the held-out test set, "
        f"by {LOSS:.2f} or more"
    )
    labelled, test = evidence.labelled, evidence.test
    if test is None or labelled is None or labelled.rows < LEAST_LABELS:
        return Finding(rule, Level.RETRAIN, None, _too_few(labelled))
    found = f"F1 of reviewed answers is {_text(labelled)}; on the test set it was {test.f1:.3f}."
    return Finding(rule, Level.RETRAIN, _fell(test, labelled, LOSS), found)


def labels_against_before(evidence: Evidence) -> Finding:
    """Compare reviewed answers with the previous month."""
    rule = f"F1 of reviewed answers fell significantly since last month, by {LOSS:.2f} or more"
    labelled, before = evidence.labelled, evidence.labelled_before
    if labelled is None or labelled.rows < LEAST_LABELS:
        return Finding(rule, Level.RETRAIN, None, _too_few(labelled))
    if before is None or before.rows < LEAST_LABELS:
        return Finding(rule, Level.RETRAIN, None, "Too few answers were reviewed last month.")
    found = f"F1 of reviewed answers is {_text(labelled)}; last month it was {_text(before)}."
    return Finding(rule, Level.RETRAIN, _fell(before, labelled, LOSS), found)


def large_estimated_loss(evidence: Evidence) -> Finding:
    """Detect a large loss in the estimate without labels."""
    return _estimate(evidence, LARGE_LOSS, Level.RETRAIN)


def estimated_loss(evidence: Evidence) -> Finding:
    """Detect a loss in the estimate without labels."""
    return _estimate(evidence, LOSS, Level.WATCH)


def inestimable(evidence: Evidence) -> Finding:
    """Detect products too unlike the held-out ones for an estimate without labels."""
    rule = "F1 cannot be estimated without labels"
    why = NOT_ESTIMATED.get(evidence.not_estimated or "")
    if why is None:
        found = "It was estimated." if evidence.estimated else "There is no estimate."
        return Finding(rule, Level.WATCH, False if evidence.estimated else None, found)
    found = f"F1 cannot be estimated without labels: {why}. Label a sample of the answers."
    return Finding(rule, Level.WATCH, True, found)


def fallen_classes(evidence: Evidence) -> Finding:
    """Detect losses of single categories, from labels."""
    rule = (
        f"F1 of a category fell significantly since last month, by {CLASS_LOSS:.1f} or more, with "
        f"at least {LEAST_CLASS_LABELS} reviewed answers in both months"
    )
    enough = {
        name: both
        for name, both in evidence.classes.items()
        if min(figure.rows for figure in both) >= LEAST_CLASS_LABELS
    }
    if not enough:
        return Finding(
            rule, Level.WATCH, None, "No category has enough reviewed answers in both months."
        )
    fallen = [
        f"{name} from {before.f1:.2f} to {now.f1:.2f}"
        for name, (before, now) in enough.items()
        if _fell(before, now, CLASS_LOSS)
    ]
    found = f"Fell: {', '.join(fallen)}." if fallen else f"None of {len(enough)} categories fell."
    return Finding(rule, Level.WATCH, bool(fallen), found)


def drift(evidence: Evidence) -> Finding:
    """Detect drift of the input from the training data."""
    rule = (
        "The input drifted from the training data: an alert was raised, or at least "
        f"{MOVED_SHARE:.0%} of the windows moved"
    )
    if not evidence.windows and not evidence.alerts:
        return Finding(rule, Level.WATCH, None, "No window was compared with the reference.")
    found = f"{evidence.moved} of {_count(evidence.windows, 'window')} moved"
    if evidence.alerts:
        raised = _count(len(evidence.alerts), "alert")
        found += f", {raised} raised: {_short(evidence.alerts[0])}"
    often = evidence.moved >= 2 and evidence.moved >= MOVED_SHARE * evidence.windows
    return Finding(rule, Level.WATCH, bool(evidence.alerts) or often, f"{found}.")


def failures(evidence: Evidence) -> Finding:
    """Detect a high share of failed products."""
    rule = f"More than {FAILED_SHARE:.0%} of the products failed"
    ended = evidence.answered + evidence.failed
    found = f"{evidence.failed:,} of {ended:,} products failed ({evidence.failed / ended:.2%})."
    return Finding(rule, Level.WATCH, evidence.failed / ended > FAILED_SHARE, found)


def degraded_answers(evidence: Evidence) -> Finding:
    """Detect a high share of answers that ignore part of the input."""
    rule = f"More than {DEGRADED_SHARE:.0%} of the answers were degraded"
    share = evidence.degraded / max(evidence.answered, 1)
    found = (
        f"{evidence.degraded:,} of {evidence.answered:,} answers ignore part of the input, such as "
        f"an unreadable image ({share:.2%})."
    )
    return Finding(rule, Level.WATCH, share > DEGRADED_SHARE, found)


def slowness(evidence: Evidence) -> Finding:
    """Detect slow answers to single products."""
    rule = f"The 95th percentile latency of single products is above {SLOW_SECONDS:g} s"
    if evidence.slow_seconds is None:
        return Finding(rule, Level.WATCH, None, "No single product was answered.")
    found = f"95% were answered within {evidence.slow_seconds:.2f} s."
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
    inestimable,
)


def _estimate(evidence: Evidence, loss: float, level: Level) -> Finding:
    rule = (
        f"F1 estimated without labels fell significantly, by {loss:.2f} or more, and by more than "
        "the error of earlier estimates"
    )
    now, before = evidence.estimated, evidence.estimated_before
    baseline = "last month"
    if before is None:
        before, baseline = evidence.test, "on the test set"
    if now is None or before is None:
        return Finding(rule, level, None, "There is no estimate to compare.")
    enough = now.rows >= LEAST_ANSWERS
    error = "unknown" if evidence.past_error is None else f"{evidence.past_error:.3f}"
    found = (
        f"The estimate is {_text(now)}, compared with {_text(before)} {baseline}; the error of "
        f"earlier estimates is {error}."
    )
    fell = _fell(before, now, max(loss, evidence.past_error or 0.0))
    return Finding(rule, level, fell if enough else None, found)


def _fell(before: Measured, now: Measured, loss: float) -> bool:
    """Return True if the loss is large enough, and significant at the 95 % level."""
    lost = before.f1 - now.f1
    # The samples are independent, so variances add up; half widths are proportional to standard
    # deviations.
    return lost >= loss and lost > hypot(before.half, now.half)


def _all_clear(evidence: Evidence) -> str:
    parts = []
    if evidence.labelled is not None and evidence.labelled.rows >= LEAST_LABELS:
        parts.append(f"F1 of reviewed answers is {_text(evidence.labelled)}")
    if evidence.estimated is not None:
        parts.append(f"the estimate without labels is {_text(evidence.estimated)}")
    figures = ", ".join(parts) or f"{evidence.answered:,} products were answered"
    return f"No rule fired: {figures}."


def _too_few(labelled: Measured | None) -> str:
    rows = labelled.rows if labelled else 0
    return f"{_count(rows, 'answer')} reviewed; {LEAST_LABELS} are needed."


def _text(figure: Measured) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.f1:.3f}"
    return f"{figure.f1:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _short(summary: str) -> str:
    first = summary.rstrip(".")
    return first if len(first) <= LONGEST else f"{first[: LONGEST - 1].rstrip(' ,')}…"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
