"""API keys of programs, each limited to some of the permissions of its owner."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from gateway.identity.permissions import scopes_of
from gateway.identity.principal import Principal, digest, new_secret
from gateway.identity.scopes import Scope
from shared.db.models import ApiKey, Role, User, now
from shared.db.session import UnitOfWork, take_turns
from shared.errors import Conflict, InvalidInput, NotFound, Unauthenticated, Unavailable

#: Prefix of every key, by which secret scanners recognize a leaked one.
PREFIX = "rayon_"
#: Characters at the start of a key that are stored and shown.
SHOWN_CHARACTERS = len(PREFIX) + 6
#: API keys of one user.
MOST_KEYS = 50
#: Shortest time between two updates of `last_used_at`, each of which costs a transaction.
LAST_USED_EVERY = timedelta(minutes=1)

_KEYS_OF_ACTIVE_USERS = (
    select(
        ApiKey.id,
        ApiKey.key_hash,
        ApiKey.scopes,
        ApiKey.expires_at,
        ApiKey.last_used_at,
        User.id.label("user_id"),
        User.username,
        User.role,
    )
    .join(User, User.id == ApiKey.user_id)
    .where(ApiKey.key_hash.in_(bindparam("key_hashes", expanding=True)), User.is_active)
)


def create(
    session: Session,
    principal: Principal,
    *,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
    """Create a key. Return its row, and the key itself, which is not stored.

    Raises:
        InvalidInput: The owner's role lacks one of the scopes, or `expires_at` is in the past.
        Conflict: The owner already has `MOST_KEYS` keys.
    """
    wanted = set(scopes)
    _require_allowed(principal.role, wanted)
    if expires_at is not None and expires_at <= now():
        raise InvalidInput(
            f"Expected a time in the future. Received: {expires_at.isoformat()}",
            field=("expires_at",),
        )
    # Requests at once would all count before any of them adds its key.
    take_turns(session, f"api_keys {principal.id}")
    count = session.scalar(
        select(func.count()).select_from(ApiKey).where(ApiKey.user_id == principal.id)
    )
    if (count or 0) >= MOST_KEYS:
        raise Conflict(
            f"Expected at most {MOST_KEYS} API keys. Received: one more. Revoke one first"
        )
    key = PREFIX + new_secret()
    row = ApiKey(
        user_id=principal.id,
        name=name,
        prefix=key[:SHOWN_CHARACTERS],
        key_hash=digest(key),
        scopes=sorted(wanted),
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    return row, key


def _require_allowed(role: Role, scopes: set[Scope]) -> None:
    allowed = scopes_of(role)
    if excess := sorted(scopes - allowed):
        raise InvalidInput(
            f"Expected scopes of the role `{role}`: {', '.join(sorted(allowed))}. "
            f"Received: {', '.join(excess)}",
            field=("scopes",),
        )


def keys_of(session: Session, user_id: str) -> Sequence[ApiKey]:
    """Return the keys of a user, newest first."""
    return session.scalars(
        select(ApiKey).where(ApiKey.user_id == user_id).order_by(ApiKey.id.desc())
    ).all()


def revoke(session: Session, user_id: str, key_id: str) -> ApiKey:
    """Delete one of the keys of a user. Raises `NotFound`."""
    row = session.get(ApiKey, key_id)
    if row is None or row.user_id != user_id:
        raise NotFound(f"No API key {key_id!r}")
    session.delete(row)
    return row


def principal_of(unit_of_work: UnitOfWork, key: str) -> Principal:
    """Return the principal of a key.

    Raises:
        Unauthenticated: The key is unknown, expired or revoked, or its owner is disabled.
    """
    found = principals_of(unit_of_work, [key])[0]
    if isinstance(found, Unauthenticated):
        raise found
    return found


def principals_of(
    unit_of_work: UnitOfWork, keys: Sequence[str]
) -> list[Principal | Unauthenticated]:
    """Return the principal of each key, or the error of `principal_of`."""
    hashes = [digest(key) for key in keys]
    with unit_of_work.querying() as connection:
        found = connection.execute(_KEYS_OF_ACTIVE_USERS, {"key_hashes": list(set(hashes))}).all()
    rows = {row.key_hash: row for row in found}
    return [_principal(rows.get(one)) for one in hashes]


def record_use(unit_of_work: UnitOfWork, key_id: str) -> None:
    """Record that a key was used now, if the database can be written."""
    with suppress(Unavailable), unit_of_work() as work:
        work.session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now()))


def _principal(row: Any) -> Principal | Unauthenticated:
    if row is None:
        return Unauthenticated("The API key is invalid")
    if row.expires_at is not None and row.expires_at <= now():
        return Unauthenticated("The API key has expired")
    return Principal(
        id=row.user_id,
        username=row.username,
        role=Role(row.role),
        session_id="",
        scopes=frozenset(row.scopes),
        key_id=row.id,
        is_use_due=row.last_used_at is None or row.last_used_at < now() - LAST_USED_EVERY,
    )
