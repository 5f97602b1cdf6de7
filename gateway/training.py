"""Training runs: asked for here, worked off by the trainer."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.deps import Principal
from shared.contracts import TrainingRequested
from shared.db.models import TrainingRun, new_id
from shared.db.session import Work
from shared.errors import NotFound


def request(work: Work, principal: Principal, *, reason: str, trace_id: str) -> TrainingRun:
    """Write a run down and tell the trainer once it is committed."""
    run = TrainingRun(id=new_id(), requested_by=principal.username, reason=reason)
    work.session.add(run)
    work.session.flush()
    work.publish(
        TrainingRequested(
            trace_id=trace_id, run_id=run.id, reason=reason, requested_by=principal.username
        )
    )
    return run


def find(session: Session, run_id: str) -> TrainingRun:
    """Look a run up. Raises `NotFound`."""
    run = session.get(TrainingRun, run_id)
    if run is None:
        raise NotFound(f"No training run {run_id!r}")
    return run


def newest(session: Session, limit: int) -> Sequence[TrainingRun]:
    """Runs, newest first."""
    return session.scalars(select(TrainingRun).order_by(TrainingRun.id.desc()).limit(limit)).all()
