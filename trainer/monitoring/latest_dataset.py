"""The stored dataset that monitor trainings use, and the labels that it does not contain yet."""

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.db.datasets import parse
from shared.db.models import (
    HAS_PRODUCT,
    DatasetStatus,
    DatasetVersion,
    Job,
    TrainingRun,
)
from shared.lifecycle.label_trust import is_trusted_label, untrusted_authors

#: Time of the last label import for a dataset that has never imported labels.
NEVER = datetime.min.replace(tzinfo=UTC)


def latest_dataset(session: Session, name: str | None) -> DatasetVersion | None:
    """Return the newest ready version of the dataset to train on.

    Args:
        session: Read-only.
        name: Dataset name; without one, the dataset of the last training, else the newest dataset.
    """
    ready = select(DatasetVersion).where(DatasetVersion.status == DatasetStatus.READY.value)
    newest = ready.order_by(DatasetVersion.created_at.desc(), DatasetVersion.id.desc()).limit(1)
    name = name or _last_trained_on(session)
    if name is not None:
        return session.scalar(newest.where(DatasetVersion.name == name))
    return session.scalar(newest)


def new_labels(session: Session, name: str, answered_since: datetime | None = None) -> int:
    """Count the trusted labels that no version contains and whose product is still stored.

    Args:
        session: Read-only.
        name: Dataset name.
        answered_since: Leaves out products that were answered earlier.
    """
    query = (
        select(func.count())
        .select_from(Job)
        .where(
            Job.labelled_at > _labels_imported_at(session, name), is_trusted_label(), HAS_PRODUCT
        )
    )
    if answered_since is not None:
        query = query.where(Job.finished_at >= answered_since)
    return session.scalar(query) or 0


def may_have_untrusted_labels(session: Session, version: DatasetVersion) -> bool:
    """Return True for a version with labels of untrusted users, or of an older trainer.

    Older trainers did not record the authors of labels.
    """
    is_recorded = version.report is None or "labels" in version.report
    return not is_recorded or bool(untrusted_authors(session, version))


def is_being_checked(session: Session, name: str) -> bool:
    """Return True while a version of the dataset is being checked."""
    query = select(DatasetVersion.id).where(
        DatasetVersion.name == name, DatasetVersion.status == DatasetStatus.CHECKING.value
    )
    return session.scalar(query.limit(1)) is not None


def next_version_number(session: Session, name: str) -> int:
    """Return the next free version number; failed versions keep theirs."""
    query = select(func.max(DatasetVersion.version)).where(DatasetVersion.name == name)
    return (session.scalar(query) or 0) + 1


def _labels_imported_at(session: Session, name: str) -> datetime:
    """Return the time up to which a version, and every later one, contains all labels."""
    versions = session.execute(
        select(DatasetVersion.created_at, DatasetVersion.asked).where(
            DatasetVersion.name == name, DatasetVersion.status == DatasetStatus.READY.value
        )
    )
    return max((at for at, asked in versions if asked.get("corrected")), default=NEVER)


def _last_trained_on(session: Session) -> str | None:
    reference = session.scalar(
        select(TrainingRun.dataset)
        .where(TrainingRun.dataset.is_not(None))
        .order_by(TrainingRun.id.desc())
        .limit(1)
    )
    return parse(reference)[0] if reference else None
