"""Carries out what a watch has decided: the rollback, its alert and its audit entry.

Each step is taken only from the state that it was decided in, so that two monitors, a crash in
between or a person who promotes meanwhile leave nothing half done.
"""

from dataclasses import dataclass

import structlog
from sqlalchemy import select

from shared.db.models import Promotion, WatchState, now
from shared.db.session import UnitOfWork, Work, take_turns
from shared.errors import Conflict, NotFound
from shared.inference.releases.access import ChampionWriter
from shared.lifecycle.alerts import MONITOR, PROMOTION, raise_alert, write_step
from shared.lifecycle.audit import append_entry
from shared.lifecycle.ledger import newest
from shared.lifecycle.promotion import Superseded, roll_back
from shared.logs import new_trace_id
from trainer.monitoring.promotion_watch.record import Record

log = structlog.get_logger(__name__)

#: Sentence of a watch that ended with another promotion.
REPLACED = "Another promotion came first"


@dataclass(frozen=True)
class Rollback:
    """Rolls back to the release before, and records the ends of watches."""

    unit_of_work: UnitOfWork
    registry: ChampionWriter

    def carry_out(self, line: Promotion, record: Record) -> None:
        """Roll back to the release before, unless somebody changed the champion meanwhile."""
        try:
            roll_back(
                self.unit_of_work,
                self.registry,
                by=MONITOR,
                reason=record.sentence,
                only_after=line.id,
            )
        except Superseded:
            pass
        except (Conflict, NotFound) as error:
            self._leave_to_a_person(line, record, error.detail)
            return
        self._finish(line, record)

    def _finish(self, line: Promotion, record: Record) -> None:
        """Record the end of a rollback that this or another monitor has carried out."""
        with self.unit_of_work.reading() as session:
            after = session.scalar(
                select(Promotion).where(Promotion.id > line.id).order_by(Promotion.id).limit(1)
            )
        if after is None or after.is_pending:
            # The alias was moved outside of Rayon, or the registry has not confirmed the rollback.
            # `reconcile` records either within a minute.
            return
        if after.promoted_by != MONITOR or after.reason != record.sentence:
            self.move(line, record.moved_to(WatchState.REPLACED, REPLACED, now()))
            return
        done = record.moved_to(WatchState.ROLLED_BACK, record.sentence, now())
        text = f"Rolled back to release {after.version}. {_TO_REPEAT}"
        self.end(line, done, WatchState.ROLLING_BACK, text)

    def _leave_to_a_person(self, line: Promotion, record: Record, error: str) -> None:
        with self.unit_of_work.reading() as session:
            last = newest(session)
        if last is None or last.id != line.id:
            self._finish(line, record)
            return
        sentence = f"{record.sentence}. It could not be rolled back: {error}"
        record = record.moved_to(WatchState.ALERTED, sentence, now())
        self.end(line, record, WatchState.ROLLING_BACK, f"Not rolled back: {error}")

    def move(self, line: Promotion, record: Record) -> bool:
        """Store a watch, and return True, unless its state has changed since it was read."""
        if record.as_json() == line.watch:
            return True
        with self.unit_of_work() as work:
            return _store(work, line, record, Record.of(line.watch or {}).state)

    def end(self, line: Promotion, record: Record, state: WatchState, step: str) -> None:
        """Store the end of a watch over a worse release, with its alert and its audit entry."""
        with self.unit_of_work() as work:
            if not _store(work, line, record, state.value):
                return
            trace_id = new_trace_id()
            alert = raise_alert(
                work,
                source=MONITOR,
                raised_by=MONITOR,
                kind=PROMOTION,
                release=line.version,
                summary=record.sentence,
                details={"promotion": line.id, "watch": record.as_json()},
                trace_id=trace_id,
                fingerprint=f"{PROMOTION}:{line.id}",
            )
            if alert is not None:
                write_step(alert, MONITOR, step)
            append_entry(
                work.session,
                _ACTIONS[record.state],
                actor=MONITOR,
                target=line.version,
                address=None,
                trace_id=trace_id,
                details={"reason": record.sentence, "promotion": line.id},
            )
        log.warning(
            "promotion_found_worse",
            release=line.version,
            before=line.previous_version,
            state=record.state,
            reason=record.sentence,
        )


_TO_REPEAT = "A release that is promoted again is not watched"
_ACTIONS = {
    WatchState.ROLLED_BACK.value: "release.roll_back",
    WatchState.ALERTED.value: "release.found_worse",
}


def _store(work: Work, line: Promotion, record: Record, state: str) -> bool:
    """Store a watch if its state is still the given one; return False otherwise."""
    # Two monitors run during a rolling update, and take the same step.
    take_turns(work.session, Promotion.__tablename__)
    stored = work.session.get(Promotion, line.id, with_for_update=True)
    if stored is None or Record.of(stored.watch or {}).state != state:
        return False
    stored.watch = line.watch = record.as_json()
    return True
