"""Leases of training runs: conditional updates, so that two trainers may compete safely."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.db.leases import LeaseLost, Owner, RowLeases, has_ended
from shared.db.models import TrainingRun, TrainingStatus, now
from shared.db.session import UnitOfWork

log = structlog.get_logger(__name__)

#: A dead trainer loses its run after this time; a live one renews the lease earlier.
LEASE = timedelta(seconds=60)

QUEUED, RUNNING = TrainingStatus.QUEUED.value, TrainingStatus.RUNNING.value


@dataclass(frozen=True)
class Claim:
    """A run leased by this trainer.

    Attributes:
        attempt: Number of the attempt, from 1.
        dataset: Dataset to train on; `None` for the trainer's own folder.
        version: Version of the run's release, if an earlier attempt registered it.
        verdict: Result of the comparison, if an earlier attempt finished it.
    """

    run_id: str
    attempt: int
    dataset: str | None
    version: str | None
    verdict: dict[str, Any] | None


@dataclass(frozen=True)
class Leases:
    """Claims, renews and releases runs.

    Every method raises `Unavailable` when the database does not answer.

    Attributes:
        owner: Name of this trainer.
        max_attempts: A run whose trainer died this often is given up.
        duration: Time after which a lease that is not renewed expires.
    """

    unit_of_work: UnitOfWork
    owner: str
    max_attempts: int
    duration: timedelta = LEASE

    def claim(self) -> Claim | None:
        """Claim the abandoned run, else the oldest queued one; `None` while a run is active."""
        try:
            with self.unit_of_work() as work:
                self._end_unrunnable(work.session)
                return self._claim_next(work.session)
        except IntegrityError:
            # Another trainer claimed a run at the same moment, and only one may be active.
            return None

    def renew(self, claim: Claim, progress: dict[str, Any] | None, log_tail: str) -> bool:
        """Renew the lease and record progress; return `True` if cancellation was requested.

        Raises:
            LeaseLost: Another trainer has taken over the run.
        """
        with self.unit_of_work() as work:
            report = {"progress": progress, "log_tail": log_tail}
            changes = {name: value for name, value in report.items() if value}
            _require(self._rows.renew(work.session, *_running(claim), **changes))
            cancel = select(TrainingRun.cancel_requested_at).where(TrainingRun.id == claim.run_id)
            return work.session.scalar(cancel) is not None

    def record(self, claim: Claim, **values: Any) -> None:
        """Record results that a later attempt need not compute again. Raises `LeaseLost`."""
        with self.unit_of_work() as work:
            _require(self._rows.change(work.session, *_running(claim), **values))

    def end(self, claim: Claim, status: TrainingStatus, message: str) -> None:
        """End the run. Raises `LeaseLost`."""
        with self.unit_of_work() as work:
            ended = {"status": status.value, "message": message, "finished_at": now()}
            _require(self._rows.release(work.session, *_running(claim), **ended))
        log.info("training_ended", run=claim.run_id, status=status.value, message=message)

    def requeue(self, claim: Claim, message: str, *, counts_attempt: bool) -> None:
        """Queue the run again, with or without counting the attempt. Raises `LeaseLost`."""
        with self.unit_of_work() as work:
            attempts = claim.attempt if counts_attempt else claim.attempt - 1
            queued = {"status": QUEUED, "message": message, "attempts": attempts}
            _require(self._rows.release(work.session, *_running(claim), **queued))
        log.info("training_requeued", run=claim.run_id, message=message)

    def _end_unrunnable(self, session: Session) -> None:
        # A running run without a lease was set to running by hand or by an older trainer.
        abandoned = (TrainingRun.status == RUNNING) & self._rows.is_free()
        idle = or_(TrainingRun.status == QUEUED, abandoned)
        ends = (
            (TrainingRun.cancel_requested_at.is_not(None), TrainingStatus.CANCELLED, "Cancelled"),
            (
                TrainingRun.attempts >= self.max_attempts,
                TrainingStatus.FAILED,
                f"Given up: the trainer or its training was killed in each of "
                f"{self.max_attempts} attempts. Finished steps are kept, so a new run resumes "
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

    def _claim_next(self, session: Session) -> Claim | None:
        running = select(TrainingRun).where(TrainingRun.status == RUNNING).with_for_update()
        run = session.scalar(running)
        if run is not None and not has_ended(run.leased_until, self.duration):
            return None
        if run is None:
            queued = select(TrainingRun).where(TrainingRun.status == QUEUED)
            run = session.scalar(queued.order_by(TrainingRun.id).limit(1).with_for_update())
        if run is None:
            return None
        attempt, started_at = run.attempts + 1, run.started_at or now()
        begun = {"status": RUNNING, "started_at": started_at, "attempts": attempt}
        if not self._rows.claim(session, TrainingRun.id == run.id, **begun):
            return None
        return Claim(run.id, attempt, run.dataset, run.version, run.verdict)

    @property
    def _rows(self) -> RowLeases:
        owner = Owner(TrainingRun.leased_by, self.owner)
        return RowLeases(TrainingRun.leased_until, self.duration, owner)


def _running(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    # The attempt fences off this trainer's own earlier attempt, whose owner has the same name.
    return (
        TrainingRun.id == claim.run_id,
        TrainingRun.status == RUNNING,
        TrainingRun.attempts == claim.attempt,
    )


def _require(is_held: bool) -> None:
    if not is_held:
        raise LeaseLost
