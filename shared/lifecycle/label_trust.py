"""Trust in labels: whose labels may train, measure a release and take part in its comparison.

Labels of reviewers, that is of operators and admins, are trusted, and those of clients are not,
unless an admin decided otherwise for the account. The decision is looked up when labels are used,
not when they are set: taking the trust from an account also takes its earlier labels out of later
trainings.
"""

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from shared.db.models import DatasetVersion, Job, Role, User

#: Roles that label the answers selected for review.
REVIEWERS = (Role.OPERATOR.value, Role.ADMIN.value)


def is_reviewer(user: User) -> bool:
    """Return True if an account labels answers selected for review."""
    return user.role in REVIEWERS


def is_trusted_author() -> ColumnElement[bool]:
    """Return the SQL condition that selects the accounts whose labels are trusted.

    A disabled account counts: reviewers leave, and their labels stay good. A deleted one does not.
    """
    by_role = User.role.in_(REVIEWERS)
    return User.deleted_at.is_(None) & func.coalesce(User.labels_trusted, by_role)


def is_trusted_label() -> ColumnElement[bool]:
    """Return the SQL condition that selects the jobs with a trusted label."""
    authors = select(User.id).where(is_trusted_author())
    # Without the second condition, the negation of this one would not select labels whose author
    # is unknown.
    has_author = Job.labelled_at.is_not(None) & Job.labelled_by_id.is_not(None)
    return has_author & Job.labelled_by_id.in_(authors)


def untrusted_authors(session: Session, version: DatasetVersion) -> list[str]:
    """Return the users who are not trusted (any more) and whose labels a version contains."""
    shares = (version.report or {}).get("labels", ())
    authors = {share["user_id"]: share["user"] for share in shares}
    query = select(User.id).where(User.id.in_(authors), is_trusted_author())
    trusted = set(session.scalars(query))
    return sorted(name for id_, name in authors.items() if id_ not in trusted)


def removal_of(version: DatasetVersion, users: list[str]) -> str:
    """Return a sentence that says how to remove untrusted labels from a version."""
    return (
        f"{version.reference} contains labels of users who are not trusted: {', '.join(users)}. "
        f"Create a version without them: POST /v1/datasets/{version.name}/rows with "
        "`labels=corrected`"
    )
