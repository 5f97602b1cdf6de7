"""One-time codes, with which users choose their passwords. Admins never learn a password."""

from datetime import datetime, timedelta

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from gateway.identity.principal import digest, new_secret
from shared.db.models import OneTimeCode, User, now
from shared.errors import InvalidInput


def issue(session: Session, user: User, lifetime: timedelta) -> tuple[str, datetime]:
    """Create a code in place of any earlier one. Return it and its expiry."""
    session.execute(delete(OneTimeCode).where(OneTimeCode.user_id == user.id))
    code, expires_at = new_secret(), now() + lifetime
    session.add(OneTimeCode(user_id=user.id, code_hash=digest(code), expires_at=expires_at))
    session.flush()
    return code, expires_at


def find(session: Session, code: str) -> User:
    """Return the user of a code without redeeming it. Raises `InvalidInput` as `redeem` does."""
    return _valid(session, select(OneTimeCode).where(OneTimeCode.code_hash == digest(code)))[1]


def redeem(session: Session, code: str) -> User:
    """Delete a code and return its user.

    Raises:
        InvalidInput: The code is unknown, expired, redeemed or replaced, or the account is
            disabled. The error does not reveal which.
    """
    query = select(OneTimeCode).where(OneTimeCode.code_hash == digest(code)).with_for_update()
    row, user = _valid(session, query)
    session.delete(row)
    return user


def delete_expired(session: Session) -> None:
    """Delete expired codes."""
    session.execute(delete(OneTimeCode).where(OneTimeCode.expires_at <= now()))


def _valid(session: Session, query: Select[OneTimeCode]) -> tuple[OneTimeCode, User]:
    row = session.scalar(query)
    user = session.get(User, row.user_id) if row else None
    if row is None or user is None or not user.is_active or row.expires_at <= now():
        raise InvalidInput(
            "The code is invalid or has expired. Ask an admin for a new one", field=("code",)
        )
    return row, user
