"""One-time codes: whoever has one chooses the account's password; the admin never knows it."""

from datetime import datetime, timedelta

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from gateway.identity.principal import digest, new_secret
from shared.db.models import OneTimeCode, User, now
from shared.errors import InvalidInput


def issue(session: Session, user: User, lifetime: timedelta) -> tuple[str, datetime]:
    """Make a code, which ends the one before; returns it and when it ends."""
    session.execute(delete(OneTimeCode).where(OneTimeCode.user_id == user.id))
    code, ends = new_secret(), now() + lifetime
    session.add(OneTimeCode(user_id=user.id, code_hash=digest(code), expires_at=ends))
    session.flush()
    return code, ends


def find(session: Session, code: str) -> User:
    """Whose code it is, without using it up. Raises `InvalidInput` as `redeem` does."""
    return _valid(session, select(OneTimeCode).where(OneTimeCode.code_hash == digest(code)))[1]


def redeem(session: Session, code: str) -> User:
    """Use a code up; returns whose it is.

    Raises:
        InvalidInput: Unknown, over, used, replaced, or of a disabled account; which is not said.
    """
    query = select(OneTimeCode).where(OneTimeCode.code_hash == digest(code)).with_for_update()
    found, user = _valid(session, query)
    session.delete(found)
    return user


def delete_expired(session: Session) -> None:
    """Forget codes that are over."""
    session.execute(delete(OneTimeCode).where(OneTimeCode.expires_at <= now()))


def _valid(session: Session, query: Select[OneTimeCode]) -> tuple[OneTimeCode, User]:
    found = session.scalar(query)
    user = session.get(User, found.user_id) if found else None
    if found is None or user is None or not user.is_active or found.expires_at <= now():
        raise InvalidInput("The code is not valid (any more). Ask for a new one", field=("code",))
    return found, user
