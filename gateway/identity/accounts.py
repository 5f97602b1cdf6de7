"""User accounts, their roles and their passwords."""

import os
import threading
from collections.abc import Sequence
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from gateway.identity.reserved_names import is_reserved
from gateway.identity.schemas.accounts import UserPatch
from gateway.web.paging import fetch_page
from shared.db.models import ApiKey, Catalog, Job, LoginSession, OneTimeCode, Role, User, now
from shared.db.session import take_turns
from shared.errors import Conflict, InvalidInput, NotFound

#: argon2id with the default cost of the library (RFC 9106, the low-memory profile).
_HASHER = PasswordHasher()
#: Each hash takes 64 MiB and a core, so more at once than cores would only take more memory.
_HASHING = threading.BoundedSemaphore(os.cpu_count() or 1)
#: Stored in place of a hash until a password is chosen. It matches no password.
NO_PASSWORD = "none yet"  # noqa: S105  # nosec B105  # not a password
#: Words that attackers guess first here. A password that contains one of them or the username needs
#: at least `MIN_OTHER_CHARACTERS` further characters.
CONTEXT_WORDS = ("rayon", "rakuten", "password", "admin")
MIN_OTHER_CHARACTERS = 5
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128


@cache
def dummy_hash() -> str:
    """Return the hash that is verified for an unknown username.

    With it, the response time does not reveal which accounts exist. `Sessions` calls this at start:
    the first sign-in with an unknown username would otherwise take twice as long.
    """
    return _HASHER.hash("nobody has this password")


@cache
def _common_passwords() -> frozenset[str]:
    # The lists take 12 MiB, and most processes never see a new password.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])


def hash_password(password: str, username: str = "") -> str:
    """Hash a password with argon2id.

    Raises:
        InvalidInput: The password has a wrong length, is little more than the username or one of
            `CONTEXT_WORDS`, or is one of the 30,000 most common leaked passwords (zxcvbn's list).
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidInput(
            f"Expected a password of {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters. "
            f"Received: {len(password)}",
            field=("password",),
        )
    lowered = password.lower()
    if lowered in _common_passwords() or _is_guessable(lowered, username.lower()):
        raise InvalidInput(
            "Expected a password that is hard to guess. Received: a common one",
            field=("password",),
        )
    with _HASHING:
        return _HASHER.hash(password)


def _is_guessable(password: str, username: str) -> bool:
    if password == username:
        return True
    rest = password
    for word in (*CONTEXT_WORDS, username):
        rest = rest.replace(word, "") if word else rest
    return rest != password and len(rest) < MIN_OTHER_CHARACTERS


def is_password(user: User | None, password: str) -> bool:
    """Return True if the password is right. Takes as long for an unknown user."""
    has_password = user is not None and user.password_hash != NO_PASSWORD
    try:
        with _HASHING:
            _HASHER.verify(user.password_hash if user and has_password else dummy_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return has_password


def find(session: Session, username: str) -> User:
    """Return an account by username. Raises `NotFound`."""
    user = session.scalar(select(User).where(User.username == username, User.deleted_at.is_(None)))
    if user is None:
        raise NotFound(f"No user {username!r}")
    return user


def belongings(session: Session, user: User) -> dict[str, int]:
    """Return the number of jobs and catalogs of a user."""
    counted = {
        "jobs": select(func.count()).where(Job.user_id == user.id),
        "catalogs": select(func.count()).where(Catalog.user_id == user.id),
    }
    return {name: session.scalar(query) or 0 for name, query in counted.items()}


def page(
    session: Session, cursor: str | None, limit: int, search: str | None = None
) -> tuple[Sequence[User], str | None]:
    """Return a page of accounts, sorted by username, and the cursor of the next page."""
    query = select(User).where(User.deleted_at.is_(None)).order_by(User.username)
    if cursor:
        query = query.where(User.username > cursor)
    if search:
        query = query.where(User.username.icontains(search, autoescape=True))
    rows, has_more = fetch_page(session, query, limit)
    users = [user for (user,) in rows]
    return users, users[-1].username if has_more else None


def create(session: Session, username: str, role: Role, password: str | None) -> User:
    """Add an account.

    Raises:
        Conflict: The username is taken, perhaps in another case.
        InvalidInput: The username is reserved, or the password is refused.
    """
    # Hashing is slow on purpose. It comes before the first statement, so that no writer waits.
    user = User(
        username=username,
        password_hash=hash_password(password, username) if password else NO_PASSWORD,
        role=role.value,
    )
    _require_free(session, username)
    session.add(user)
    session.flush()
    return user


def _require_free(session: Session, username: str) -> None:
    # Two requests at once could otherwise add names that differ only in case.
    take_turns(session, "usernames")
    taken = select(User.id).where(func.lower(User.username) == username.lower())
    if session.scalar(taken.limit(1)) is not None:
        raise Conflict(
            f"Expected a new username. Received: {username!r}, which is taken", field=("username",)
        )
    if is_reserved(username):
        raise InvalidInput(
            f"Expected a username that does not look like one of Rayon's own. Received: "
            f"{username!r}",
            field=("username",),
        )


def change(session: Session, username: str, patch: UserPatch) -> User:
    """Change an account. Disabling it ends its sessions and API keys at once.

    Raises:
        NotFound: The account does not exist.
        Conflict: The account is the last active admin.
    """
    user = find(session, username)
    if patch.is_active is False:
        _keep_one_admin(session, user)
    if patch.role is not None:
        change_role(session, user, patch.role)
    if patch.is_active is not None:
        user.is_active = patch.is_active
    if patch.is_active is False:
        end_access(session, user)
    if patch.labels_trusted is not None:
        user.labels_trusted = patch.labels_trusted
    return user


def change_role(session: Session, user: User, role: Role) -> None:
    """Change the role of an account. Raises `Conflict` for the last active admin."""
    if role is not Role.ADMIN:
        _keep_one_admin(session, user)
    user.role = role.value


def remove(session: Session, username: str, *, keep_jobs: bool) -> None:
    """Delete an account.

    Args:
        session: The database session.
        username: The account to delete.
        keep_jobs: True to keep its jobs and catalogs, and with them a disabled account without the
            username. False to delete them too.

    Raises:
        NotFound: The account does not exist.
        Conflict: The account is the last active admin.
    """
    user = find(session, username)
    _keep_one_admin(session, user)
    if not keep_jobs:
        session.delete(user)
        return
    end_access(session, user)
    user.username = f"deleted-{user.id}"
    user.identity_hash = None
    user.password_hash = NO_PASSWORD
    user.role = Role.CLIENT.value
    user.is_active = False
    user.deleted_at = now()


def choose_password(session: Session, user: User, password_hash: str) -> None:
    """Set the password of an account and end its sessions.

    The caller hashes the password before the transaction, because hashing is slow on purpose and
    other writers would wait.
    """
    user.password_hash = password_hash
    end_sessions(session, user)


def change_password(session: Session, verified: User, password_hash: str) -> None:
    """Replace a verified password of an account and end its sessions.

    Args:
        session: The database session.
        verified: The account as it was when the current password was verified.
        password_hash: Hash of the new password.

    Raises:
        Conflict: The password has been changed since, or the account deleted.
    """
    changed = session.execute(
        update(User)
        .where(User.id == verified.id, User.password_hash == verified.password_hash)
        .values(password_hash=password_hash)
        .returning(User.id)
    )
    if changed.one_or_none() is None:
        raise Conflict("The password has been changed since. Sign in with the new one")
    end_sessions(session, verified)


def end_access(session: Session, user: User) -> None:
    """Delete all sessions, API keys and one-time codes of a user."""
    end_sessions(session, user)
    end_api_keys(session, user)
    session.execute(delete(OneTimeCode).where(OneTimeCode.user_id == user.id))


def end_sessions(session: Session, user: User) -> None:
    """Delete all sessions of a user."""
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))


def end_api_keys(session: Session, user: User) -> None:
    """Revoke all API keys of a user."""
    session.execute(delete(ApiKey).where(ApiKey.user_id == user.id))


def _keep_one_admin(session: Session, user: User) -> None:
    if user.role != Role.ADMIN.value or not user.is_active:
        return
    # The lock keeps two admins who remove each other at the same time from both succeeding.
    admins = session.scalars(
        select(User.id)
        .where(User.role == Role.ADMIN.value, User.is_active)
        .order_by(User.id)
        .with_for_update()
    ).all()
    if not set(admins) - {user.id}:
        raise Conflict(f"{user.username!r} is the last active admin. Appoint another one first")
