"""Groups of dead letters with the same topic and error: list, replay and discard them together."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from gateway.operations import dead_letters
from gateway.operations.schemas import DeadLetterGroup, DeadLettersHandled, GroupSelection
from shared.db.models import DeadLetter
from shared.db.session import UnitOfWork, Work
from shared.errors import Conflict, NotFound
from shared.skipping import skipping

#: Name of the loop over dead letters in metrics and logs.
LOOP = "dead_letters"
#: Groups of a list, largest first.
MOST_GROUPS = 100
#: Dead letters that one request handles, and those of one transaction.
MOST_HANDLED, BATCH = 1_000, 50
#: Newest dead letters of a group whose jobs are counted by status.
COUNTED = 200


def groups(session: Session) -> list[DeadLetterGroup]:
    """Return the groups, the largest first, with the fate of the jobs of their newest letters."""
    query = (
        select(
            DeadLetter.topic,
            DeadLetter.error,
            func.count().label("count"),
            func.max(DeadLetter.id).label("newest_id"),
            func.min(DeadLetter.parked_at).label("first_at"),
            func.max(DeadLetter.parked_at).label("last_at"),
        )
        .group_by(DeadLetter.topic, DeadLetter.error)
        .order_by(func.count().desc(), DeadLetter.topic, DeadLetter.error)
        .limit(MOST_GROUPS)
    )
    return [
        DeadLetterGroup.model_validate(
            {**row._mapping, "jobs": _statuses(session, row.topic, row.error)}
        )
        for row in session.execute(query)
    ]


def replay(
    unit_of_work: UnitOfWork, wanted: GroupSelection, *, lease_seconds: float
) -> DeadLettersHandled:
    """Replay the letters of a group; those that this version cannot read stay."""
    return _handle(
        unit_of_work,
        wanted,
        lambda work, letter_id: dead_letters.replay(work, letter_id, lease_seconds=lease_seconds),
    )


def discard(unit_of_work: UnitOfWork, wanted: GroupSelection) -> DeadLettersHandled:
    """Discard the letters of a group. Their jobs stay as they are."""
    return _handle(
        unit_of_work, wanted, lambda work, letter_id: dead_letters.discard(work.session, letter_id)
    )


@dataclass
class _Handled:
    handled: int = 0
    refused: int = 0


def _handle(
    unit_of_work: UnitOfWork, wanted: GroupSelection, handle: Callable[[Work, str], None]
) -> DeadLettersHandled:
    with unit_of_work.reading() as session:
        query = _of_group(wanted.topic, wanted.error).where(DeadLetter.id <= wanted.newest_id)
        ids = session.scalars(query.with_only_columns(DeadLetter.id).order_by(DeadLetter.id)).all()
    now_handled, done = ids[:MOST_HANDLED], _Handled()
    for start in range(0, len(now_handled), BATCH):
        with unit_of_work() as work:
            _handle_batch(work, now_handled[start : start + BATCH], handle, done)
    return DeadLettersHandled(
        handled=done.handled, refused=done.refused, left=len(ids) - len(now_handled)
    )


def _handle_batch(
    work: Work, ids: Sequence[str], handle: Callable[[Work, str], None], done: _Handled
) -> None:
    for letter_id in ids:
        is_refused = True
        # Nothing of a letter that raises is kept, and the others are handled.
        with skipping(LOOP, letter_id), suppress(Conflict), work.session.begin_nested():
            # `NotFound`: somebody else has handled it in the meantime.
            with suppress(NotFound):
                handle(work, letter_id)
                done.handled += 1
            is_refused = False
        done.refused += is_refused


def _of_group(topic: str, error: str) -> Select[DeadLetter]:
    return select(DeadLetter).where(DeadLetter.topic == topic, DeadLetter.error == error)


def _statuses(session: Session, topic: str, error: str) -> dict[str, int]:
    newest = _of_group(topic, error).order_by(DeadLetter.id.desc()).limit(COUNTED)
    found = session.scalars(newest).all()
    ids = {
        job_id
        for reference in dead_letters.references(session, found)
        for job_id in reference.job_ids
    }
    return dead_letters.statuses(session, sorted(ids))
