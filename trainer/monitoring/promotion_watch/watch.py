"""The watch over a promoted release: it is compared with the release before, look by look.

    watching ─┬─ a measure is worse ─┬─▶ rolling_back ─┬─▶ rolled_back
              │                      │                 ├─▶ alerted: the release before is gone
              │                      │                 └─▶ replaced: a person promoted meanwhile
              │                      └─▶ alerted (RAYON_WATCH_ACTION=alert)
              ├─ the time is over ─▶ passed, or undecided after too few answers
              └─ another promotion ─▶ replaced

Only a release that never served before is watched. So a rollback is never rolled back, nor is a
release that somebody promotes again after a rollback.

All state is read from the ledger, so a crash or a second monitor changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from shared.db.models import Promotion, WatchState, now
from shared.db.session import UnitOfWork
from shared.errors import NotFound, ReleaseUnloadable
from shared.lifecycle.ledger import last_done
from shared.skipping import skipping
from trainer.monitoring.promotion_watch.accuracy import accuracy_before
from trainer.monitoring.promotion_watch.comparing import (
    Comparer,
    ScoringFailed,
    WatchedReleases,
)
from trainer.monitoring.promotion_watch.looks import FIRST_ROWS, Looks
from trainer.monitoring.promotion_watch.measures import (
    AGREEMENTS,
    MEASURES,
    Finding,
    Pair,
    agreement,
    degraded,
    failures,
    labels,
    latency,
)
from trainer.monitoring.promotion_watch.observations import Observations, distinct, observe
from trainer.monitoring.promotion_watch.record import Record
from trainer.monitoring.promotion_watch.rollback import REPLACED, Rollback
from trainer.monitoring.settings import WatchSettings

log = structlog.get_logger(__name__)

#: Answers of the release before that the new one scores at once, before it has answered any.
REHEARSED = 100
#: Keys of `Record.looked` that are not measures: rows of the last scoring.
COMPARED, LABELLED = "compared", "labelled"
#: Newest promotions among which unfinished watches are looked for.
RECENT = 20
#: Time after a failed scoring in which none is tried.
RETRY_DELAY = timedelta(minutes=10)


@dataclass
class PromotionWatch:
    """Compares the promoted release with the one before, and rolls it back if it is worse.

    Attributes:
        unit_of_work: Database of the ledger, the answers and the alerts.
        registry: Registry of the releases.
        settings: Length, reaction and error probability.
        comparing: Scores products with both releases.
    """

    unit_of_work: UnitOfWork
    registry: WatchedReleases
    settings: WatchSettings
    comparing: Comparer
    #: Time of the last failed scoring.
    _failed_at: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._rollback = Rollback(self.unit_of_work, self.registry)

    @property
    def looks(self) -> Looks:
        """Plan of the looks."""
        return Looks(self.settings.answers, len(MEASURES), self.settings.false_alarms)

    def look(self, moment: datetime | None = None) -> None:
        """Take the next step of every unfinished watch.

        Raises:
            Unavailable: The database or the registry does not answer; the step is taken later.
        """
        moment = moment or now()
        with self.unit_of_work.reading() as session:
            serving = last_done(session)
            unfinished = _unfinished(session)
            is_due = serving is not None and self._is_due(session, serving, moment)
        for line in unfinished:
            with skipping("promotion_watch", line.id):
                self._continue(line, serving, moment)
        if serving is not None and is_due:
            self._begin(serving, moment)
            self._judge(serving, moment)

    def _is_due(self, session: Session, line: Promotion, moment: datetime) -> bool:
        """Return True for a release that is to be watched and is not yet."""
        is_recent = moment - line.promoted_at < self._length
        return line.watch is None and is_recent and is_watched(session, line)

    @property
    def _length(self) -> timedelta:
        return timedelta(hours=self.settings.hours)

    def _continue(self, line: Promotion, serving: Promotion | None, moment: datetime) -> None:
        record = Record.of(line.watch or {})
        if record.state == WatchState.ROLLING_BACK.value:
            self._rollback.carry_out(line, record)
        elif serving is None or serving.id != line.id:
            self._rollback.move(line, record.moved_to(WatchState.REPLACED, REPLACED, moment))
        else:
            self._judge(line, moment)

    def _begin(self, line: Promotion, moment: datetime) -> None:
        with self.unit_of_work() as work:
            stored = work.session.get_one(Promotion, line.id, with_for_update=True)
            if stored.watch is None:
                sentence = f"Compared with release {line.previous_version}"
                record = Record().moved_to(WatchState.WATCHING, sentence, moment)
                stored.watch = record.as_json()
                log.info("promotion_watched", release=line.version, before=line.previous_version)
            line.watch = stored.watch

    def _judge(self, line: Promotion, moment: datetime) -> None:
        """Look at the measures that are due, and decide."""
        record = Record.of(line.watch or {})
        if record.state != WatchState.WATCHING.value:
            return
        with self.unit_of_work.reading() as session:
            seen = observe(session, line, self.settings.answers)
        findings = self._counted(seen, record)
        record = replace(record, answers=len(seen.after), labelled=len(seen.labelled))
        compared, record = self._compared(line, seen, record, moment)
        findings += compared
        record = record.with_findings(findings)
        worse = [finding for finding in findings if finding.is_worse]
        if worse:
            self._decide(line, record, worse, moment)
        elif moment - line.promoted_at >= self._length:
            self._rollback.move(line, self._ended(line, record, moment))
        else:
            self._rollback.move(line, replace(record, sentence=_progress(line, record)))

    def _counted(self, seen: Observations, record: Record) -> list[Finding]:
        """Look at the measures that need no scoring."""
        level = self.looks.level
        found = [act(seen.after, seen.before, level) for act in (failures, degraded, latency)]
        return [one for one in found if one is not None and self._is_due_for(one, record)]

    def _compared(
        self, line: Promotion, seen: Observations, record: Record, moment: datetime
    ) -> tuple[list[Finding], Record]:
        """Look at the measures for which both releases score the same products."""
        before, after = distinct(seen.before)[-REHEARSED:], distinct(seen.after)
        rows = {COMPARED: len(before) + len(after), LABELLED: len(seen.labelled)}
        is_due = any(
            self.looks.is_due(count, record.looked.get(name, 0)) for name, count in rows.items()
        )
        if not is_due or not self._may_score(moment):
            return [], record
        try:
            versions = line.previous_version or "", line.version
            pairs = self.comparing.pairs(*versions, before, [*after, *seen.labelled])
            manifest = self.registry.manifest(versions[0])
        except (ScoringFailed, NotFound, ReleaseUnloadable) as error:
            # The answers are compared again later; the other measures go on meanwhile.
            self._failed_at = moment
            log.warning("promotion_comparison_failed", release=line.version, error=str(error))
            return [], record
        record = replace(record, compared=rows[COMPARED], looked={**record.looked, **rows})
        unlabelled = len(before) + len(after)
        with self.unit_of_work.reading() as session:
            accuracy = accuracy_before(session, line, manifest, pairs[:unlabelled])
        found = self._agreements(pairs[:unlabelled], accuracy)
        found.append(labels(pairs[unlabelled:], self.looks.level))
        return [one for one in found if one and self._is_due_for(one, record)], record

    def _agreements(
        self, pairs: Sequence[Pair], accuracy: dict[str, float | None]
    ) -> list[Finding | None]:
        level = self.looks.level
        return [agreement(name, pairs, accuracy[name], level) for name in AGREEMENTS]

    def _may_score(self, moment: datetime) -> bool:
        return self._failed_at is None or moment - self._failed_at >= RETRY_DELAY

    def _is_due_for(self, finding: Finding, record: Record) -> bool:
        return self.looks.is_due(finding.rows, record.looked.get(finding.measure, 0))

    def _decide(
        self, line: Promotion, record: Record, worse: Sequence[Finding], moment: datetime
    ) -> None:
        reason = (
            f"Release {line.version} is worse than release {line.previous_version} after "
            f"{record.answers} answers. {'. '.join(one.sentence for one in worse)}"
        )
        if self.settings.action == "alert":
            record = record.moved_to(WatchState.ALERTED, reason, moment)
            self._rollback.end(line, record, WatchState.WATCHING, _TO_ROLL_BACK)
            return
        record = record.moved_to(WatchState.ROLLING_BACK, reason, moment)
        # The decision is recorded first, so that a crash or a silent registry only delays it.
        if self._rollback.move(line, record):
            self._rollback.carry_out(line, record)

    def _ended(self, line: Promotion, record: Record, moment: datetime) -> Record:
        if record.answers < FIRST_ROWS:
            sentence = f"Too few answers in {self.settings.hours:g} hours: {record.answers}"
            return record.moved_to(WatchState.UNDECIDED, sentence, moment)
        sentence = (
            f"Not worse than release {line.previous_version} by {len(record.findings)} measures "
            f"after {record.answers} answers and {record.labelled} labels"
        )
        return record.moved_to(WatchState.PASSED, sentence, moment)


_TO_ROLL_BACK = "Left to a person. To roll back: POST /v1/releases/rollback"
_UNFINISHED = (WatchState.WATCHING.value, WatchState.ROLLING_BACK.value)


def is_watched(session: Session, line: Promotion) -> bool:
    """Return True for the promotion of a release that never served before, after another one."""
    if line.previous_version is None:
        return False
    served = or_(Promotion.version == line.version, Promotion.previous_version == line.version)
    earlier = select(Promotion.id).where(Promotion.id < line.id, served)
    return session.scalar(earlier.limit(1)) is None


def _unfinished(session: Session) -> list[Promotion]:
    recent = select(Promotion).order_by(Promotion.id.desc()).limit(RECENT)
    lines = [line for line in session.scalars(recent) if line.watch is not None]
    return [line for line in lines if Record.of(line.watch or {}).state in _UNFINISHED]


def _progress(line: Promotion, record: Record) -> str:
    return (
        f"Compared with release {line.previous_version}: {record.answers} answers, "
        f"{record.compared} products scored by both, {record.labelled} labels"
    )
