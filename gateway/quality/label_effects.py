"""The effect of a new label on the one that was there: labels of trusted authors outrank others."""

from collections.abc import Iterable
from enum import Enum

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import User
from shared.lifecycle.label_trust import is_trusted_author


class Effect(Enum):
    """Effect of a new label on the one that was there."""

    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


def trusted_among(session: Session, account_ids: Iterable[str | None]) -> set[str]:
    """Return the accounts among some whose labels are trusted."""
    query = select(User.id).where(User.id.in_(set(account_ids) - {None}), is_trusted_author())
    return set(session.scalars(query))


def effect_of(
    before: tuple[int | None, str | None], code: int | None, author_id: str, trusted: set[str]
) -> Effect:
    """Return the effect of a new label on the one before, given as its code and its author."""
    outranks = author_id in trusted and before[1] not in trusted
    if before[0] == code:
        # An equal label keeps its time, because a training counts new labels.
        return Effect.REPLACED if code is not None and outranks else Effect.UNCHANGED
    # A client could otherwise take a reviewer's label out of training and out of the figures.
    is_refused = before[1] in trusted and author_id not in trusted
    return Effect.REFUSED if is_refused else Effect.REPLACED
