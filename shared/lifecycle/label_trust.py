"""Trust in labels: whose labels may train, measure a release and take part in its comparison.

Labels of reviewers, that is of operators and admins, are trusted, and those of clients are not,
unless an admin decided otherwise for the account. The decision is looked up when labels are used,
not when they are set: taking the trust from an account also takes its earlier labels out of later
trainings.
"""

from sqlalchemy import ColumnElement, func, select

from shared.db.models import Job, Role, User

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
