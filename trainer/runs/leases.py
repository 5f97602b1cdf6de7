"""Who works on which training run: every change is conditional, so that two trainers may ask."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.db.models import TrainingRun, TrainingStatus, now
from shared.db.session import UnitOfWork

log = structlog.get_logger(__name__)

#: A trainer that died lets its run go after this long; a live one renews in time.
LEASE = timedelta(seconds=60)

QUEUED, RUNNING = TrainingStatus.QUEUED.value, TrainingStatus.RUNNING.value


class LeaseLost(Exception):
    """Another trainer holds the run by now: this one was away for too long."""


@dataclass(frozen=True)
class Claim:
    """A run that this trainer holds.

    Attributes:
        attempt: The first one is 1.
        dataset: What to train on; `None` is the trainer's own folder.
        version: Its release, if an earlier attempt came so far.
        verdict: The same of the comparison.
    """

    run_id: str
    attempt: int
    dataset: str | None
    version: str | None
    verdict: dict[str, Any] | None


@dataclass(frozen=True)
class Leases:
    """Takes, keeps and lets go of runs.

    Every method raises `Unavailable` when the database does not answer.

    Attributes:
        owner: Names this trainer.
        max_attempts: A run whose trainer died this often is given up.
        duration: How long a run stays with a trainer that is silent.
    """

    unit_of_work: UnitOfWork
    owner: str
    max_attempts: int
    duration: timedelta = LEASE

    def claim(self) -> Claim | None:
        """Take the run that was abandoned, else the oldest queued one, unless one is running."""
        try:
            with self.unit_of_work() as work:
                self._end_hopeless(work.session)
                return self._take(work.session)
        except IntegrityError:
            # Another trainer claimed a run in the same moment, and only one may run.
            return None

    def renew(self, claim: Claim, progress: dict[str, Any] | None, log_tail: str) -> bool:
        """Keep the run, and tell how far it is; returns whether it shall be cancelled.

        Raises:
            LeaseLost: The run is somebody else's by now.
        """
        with self.unit_of_work() as work:
            run = self._held(work.session, claim)
            run.leased_until = now() + self.duration
            run.progress, run.log_tail = progress or run.progress, log_tail or run.log_tail
            return run.cancel_requested_at is not None

    def note(self, claim: Claim, **found: Any) -> None:
        """Write down what the next try need not do again. Raises `LeaseLost`."""
        with self.unit_of_work() as work:
            run = self._held(work.session, claim)
            for name, value in found.items():
                setattr(run, name, value)

    def end(self, claim: Claim, status: TrainingStatus, message: str) -> None:
        """End the run. Raises `LeaseLost`."""
        with self.unit_of_work() as work:
            run = self._held(work.session, claim)
            run.status, run.message, run.finished_at = status.value, message, now()
            run.leased_by = run.leased_until = None
        log.info("training_ended", run=claim.run_id, status=status.value, message=message)

    def give_back(self, claim: Claim, message: str, *, counts: bool) -> None:
        """Queue the run again; `counts` says whether the try was one. Raises `LeaseLost`."""
        with self.unit_of_work() as work:
            run = self._held(work.session, claim)
            run.status, run.message = QUEUED, message
            run.leased_by = run.leased_until = None
            run.attempts = claim.attempt if counts else claim.attempt - 1
        log.info("training_given_back", run=claim.run_id, message=message)

    def _end_hopeless(self, session: Session) -> None:
        idle = or_(TrainingRun.status == QUEUED, _abandoned())
        ends = (
            (TrainingRun.cancel_requested_at.is_not(None), TrainingStatus.CANCELLED, "Cancelled"),
            (
                TrainingRun.attempts >= self.max_attempts,
                TrainingStatus.FAILED,
                f"Given up: the trainer or its training was killed in each of "
                f"{self.max_attempts} attempts. Finished steps are kept, so a new run goes on "
                "where this one stopped",
            ),
        )
        for condition, status, message in ends:
            session.execute(
                update(TrainingRun)
                .where(idle, condition)
                .values(
                    status=status.value,
                    message=message,
                    finished_at=now(),
                    leased_by=None,
                    leased_until=None,
                )
            )

    def _take(self, session: Session) -> Claim | None:
        running = select(TrainingRun).where(TrainingRun.status == RUNNING).with_for_update()
        run = session.scalar(running)
        if run is not None and (run.leased_until is not None and run.leased_until >= now()):
            return None
        if run is None:
            queued = select(TrainingRun).where(TrainingRun.status == QUEUED)
            run = session.scalar(queued.order_by(TrainingRun.id).limit(1).with_for_update())
        if run is None:
            return None
        run.status, run.leased_by, run.leased_until = RUNNING, self.owner, now() + self.duration
        run.started_at = run.started_at or now()
        run.attempts += 1
        session.flush()
        return Claim(run.id, run.attempts, run.dataset, run.version, run.verdict)

    def _held(self, session: Session, claim: Claim) -> TrainingRun:
        run = session.scalar(
            select(TrainingRun)
            .where(
                TrainingRun.id == claim.run_id,
                TrainingRun.status == RUNNING,
                TrainingRun.leased_by == self.owner,
                TrainingRun.attempts == claim.attempt,
            )
            .with_for_update()
        )
        if run is None:
            raise LeaseLost
        return run


def _abandoned() -> ColumnElement[bool]:
    # A run without a lease was set running by hand, or by an older trainer.
    over = or_(TrainingRun.leased_until < now(), TrainingRun.leased_until.is_(None))
    return (TrainingRun.status == RUNNING) & over
