"""The ledger of promotions: which releases served, since when, and who decided so."""

from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from shared.db.models import Promotion, new_id

#: Condition of promotions that were carried out.
IS_DONE = Promotion.is_pending.is_(False)


def newest(session: Session) -> Promotion | None:
    """Return the newest promotion, even if it is pending."""
    return session.scalar(_newest_first().limit(1))


def last_done(session: Session) -> Promotion | None:
    """Return the newest promotion that was carried out: that of the champion."""
    return session.scalar(_newest_first().where(IS_DONE).limit(1))


def served_before(session: Session, serving: str | None) -> str | None:
    """Return the release that served before the champion, if any."""
    done = _newest_first().where(IS_DONE)
    other = session.scalar(done.where(Promotion.version != serving).limit(1))
    if other is not None:
        return other.version
    # A release may have served before the first promotion was recorded.
    line = session.scalar(done.where(Promotion.previous_version != serving).limit(1))
    return None if line is None else line.previous_version


def append(session: Session, line: Promotion, last: Promotion | None) -> None:
    """Add a promotion behind the last one, even if the clock was set back meanwhile."""
    line.id = new_id()
    if last is not None and line.id <= last.id:
        line.id = str(UUID(int=UUID(last.id).int + 1))
    session.add(line)
    session.flush()


def mark_done(session: Session, line: Promotion) -> None:
    """Record that a promotion was carried out."""
    session.execute(
        update(Promotion)
        .where(Promotion.id == line.id)
        .values(is_pending=False)
        .execution_options(synchronize_session=False)
    )


def _newest_first() -> Select[Promotion]:
    return select(Promotion).order_by(Promotion.id.desc())
