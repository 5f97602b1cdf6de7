"""Accounts whose labels may train, and the limits of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import Job, User
from shared.lifecycle.label_trust import is_reviewer, is_trusted_author


@dataclass(frozen=True)
class Author:
    """An account whose labels may train."""

    id: str
    name: str
    is_reviewer: bool


@dataclass(frozen=True)
class LabelLimits:
    """The largest part of the training rows with labels of one author, and whose are left out.

    Attributes:
        rows: Number of rows.
        share: Share of all training rows.
        odds_ratio: Ratio of the odds of disagreement with the model, of an author to the others,
            from which all labels of the author are left out; 0 for never. See
            `trainer.datasets.labelled.agreement`.
    """

    rows: int = 10_000
    share: float = 0.1
    odds_ratio: float = 5.0


def trusted_authors(session: Session) -> dict[str, Author]:
    """Return the accounts whose labels may train, by id."""
    users = session.scalars(select(User).where(is_trusted_author()))
    return {user.id: Author(user.id, user.username, is_reviewer(user)) for user in users}


def authors_of_jobs(session: Session, job_ids: Sequence[str]) -> dict[str, str]:
    """Return the ids of the accounts that labelled some jobs, by job."""
    query = select(Job.id, Job.labelled_by_id).where(
        Job.id.in_(job_ids), Job.labelled_by_id.is_not(None)
    )
    return {row.id: row.labelled_by_id for row in session.execute(query)}
