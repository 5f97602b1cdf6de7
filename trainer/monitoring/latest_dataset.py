"""The stored dataset that trainings asked for by the monitor use."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.datasets import parse
from shared.db.models import DatasetStatus, DatasetVersion, TrainingRun


def latest_dataset(session: Session, name: str | None) -> DatasetVersion | None:
    """The newest version that is ready, of the dataset that is to be trained on.

    Args:
        session: Reads.
        name: Of the dataset; else it is the one that was trained on last, else the newest.
    """
    ready = select(DatasetVersion).where(DatasetVersion.status == DatasetStatus.READY.value)
    newest = ready.order_by(DatasetVersion.created_at.desc(), DatasetVersion.id.desc()).limit(1)
    name = name or _trained_on_last(session)
    if name is not None:
        return session.scalar(newest.where(DatasetVersion.name == name))
    return session.scalar(newest)


def _trained_on_last(session: Session) -> str | None:
    reference = session.scalar(
        select(TrainingRun.dataset)
        .where(TrainingRun.dataset.is_not(None))
        .order_by(TrainingRun.id.desc())
        .limit(1)
    )
    return parse(reference)[0] if reference else None
