"""Training runs: requested here, executed by the trainer."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from gateway.identity.principal import Principal
from shared.contracts import TrainingRequested
from shared.db.datasets import resolve
from shared.db.models import (
    DatasetStatus,
    DatasetVersion,
    TrainingRun,
    TrainingStatus,
    new_id,
    now,
)
from shared.db.session import Work
from shared.errors import Conflict, InvalidInput, NotFound
from shared.lifecycle.label_trust import removal_of, untrusted_authors

#: Most names of datasets in an error.
NAMES_SHOWN = 5


def request(
    work: Work,
    principal: Principal,
    *,
    reason: str,
    dataset: str | None,
    trace_id: str,
    has_default: bool,
) -> TrainingRun:
    """Store a training run. The trainer is notified after the commit.

    Args:
        work: Transaction.
        principal: Who requests it.
        reason: Reason of the request.
        dataset: `name` or `name@version`; `None` for the trainer's own data folder.
        trace_id: Trace of the request.
        has_default: True if the trainer has a data folder of its own.

    Raises:
        InvalidInput: The dataset does not exist, or none is named and the trainer has no folder.
        Conflict: It contains labels of users who are not trusted.
    """
    if dataset is None and not has_default:
        raise _no_dataset(work.session)
    if dataset is not None:
        version = resolve(work.session, dataset)
        if users := untrusted_authors(work.session, version):
            raise Conflict(removal_of(version, users))
        # Stored with its version: later versions of the dataset do not affect this run.
        dataset = version.reference
    run = TrainingRun(id=new_id(), requested_by=principal.username, reason=reason, dataset=dataset)
    work.session.add(run)
    work.session.flush()
    work.publish(
        TrainingRequested(
            trace_id=trace_id, run_id=run.id, reason=reason, requested_by=principal.username
        )
    )
    return run


def _no_dataset(session: Session) -> InvalidInput:
    ready = select(DatasetVersion.name).where(DatasetVersion.status == DatasetStatus.READY.value)
    names = session.scalars(ready.distinct().order_by(DatasetVersion.name).limit(NAMES_SHOWN)).all()
    listed = (
        f"such as {', '.join(map(repr, names))}"
        if names
        else "but none is stored: send one to POST /v1/datasets first"
    )
    return InvalidInput(
        f"Expected `dataset`, the name of a stored dataset, {listed}. Received: none, and the "
        "trainer has no data folder of its own",
        field=("dataset",),
    )


def cancel(session: Session, run_id: str) -> TrainingRun:
    """Cancel a queued run at once and request the end of a running one.

    Raises:
        NotFound: The run does not exist.
    """
    find(session, run_id)
    ended = {
        "status": TrainingStatus.CANCELLED.value,
        "message": "Cancelled before it began",
        "finished_at": now(),
    }
    # Each update is conditional, because the trainer may claim or end the run at the same time.
    for changes, condition in (
        (ended, TrainingRun.status == TrainingStatus.QUEUED.value),
        (
            {"cancel_requested_at": now()},
            (TrainingRun.status == TrainingStatus.RUNNING.value)
            & TrainingRun.cancel_requested_at.is_(None),
        ),
    ):
        session.execute(
            update(TrainingRun)
            .where(TrainingRun.id == run_id, condition)
            .values(**changes)
            .execution_options(synchronize_session=False)
        )
    session.expire_all()
    return find(session, run_id)


def find(session: Session, run_id: str) -> TrainingRun:
    """Return a training run. Raises `NotFound`."""
    run = session.get(TrainingRun, run_id)
    if run is None:
        raise NotFound(f"No training run {run_id!r}")
    return run


def verdicts(session: Session, versions: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the comparisons of releases with their champions, by version."""
    query = select(TrainingRun.version, TrainingRun.verdict).where(
        TrainingRun.version.in_([*versions]), TrainingRun.verdict.is_not(None)
    )
    found = session.execute(query.order_by(TrainingRun.id))
    return {version: verdict for version, verdict in found if version and verdict}


def newest(session: Session, limit: int) -> Sequence[TrainingRun]:
    """Return the newest training runs, newest first."""
    return session.scalars(select(TrainingRun).order_by(TrainingRun.id.desc()).limit(limit)).all()
