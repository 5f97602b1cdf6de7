"""Accounts: who exists, with which role and password."""

import os
import threading
from collections.abc import Sequence
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from gateway.identity.schemas.accounts import UserPatch
from gateway.web.paging import fetch_page
from shared.db.models import ApiKey, LoginSession, OneTimeCode, Role, User, now
from shared.errors import Conflict, InvalidInput, NotFound

#: argon2id with the library's own choice of cost (RFC 9106, the low-memory profile).
_HASHER = PasswordHasher()
#: Checked where there is no such username, so that the answer takes as long as where there is.
_NOBODY = _HASHER.hash("nobody has this password")

#: Each takes 64 MiB and a core; more at once would only take more memory.
_HASHING = threading.BoundedSemaphore(os.cpu_count() or 1)
#: In place of a hash, as long as nobody has chosen a password; no password fits it.
NO_PASSWORD = "none yet"  # noqa: S105  # nosec B105  # the absence of one
#: What is guessed first here; a password needs as many other characters as `FEWEST_OTHERS`.
CONTEXT_WORDS = ("rayon", "rakuten", "password", "admin")
FEWEST_OTHERS = 5
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128


@cache
def _common_passwords() -> frozenset[str]:
    return frozenset(FREQUENCY_LISTS["passwords"])


def hash_password(password: str, username: str = "") -> str:
    """Hash a password with argon2id.

    Raises:
        InvalidInput: It has a wrong length, is little more than the account's name or one of
            `CONTEXT_WORDS`, or one of the 30,000 that are found most often where passwords were
            stolen (the list of zxcvbn).
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidInput(
            f"Expected a password of {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters. "
            f"Received: {len(password)}",
            field=("password",),
        )
    lowered = password.lower()
    if lowered in _common_passwords() or _is_of_context(lowered, username.lower()):
        raise InvalidInput(
            "This password is one of the first that are guessed. Choose another",
            field=("password",),
        )
    with _HASHING:
        return _HASHER.hash(password)


def _is_of_context(password: str, username: str) -> bool:
    if password == username:
        return True
    rest = password
    for word in (*CONTEXT_WORDS, username):
        rest = rest.replace(word, "") if word else rest
    return rest != password and len(rest) < FEWEST_OTHERS


def is_password(user: User | None, password: str) -> bool:
    """Whether the password is the user's; takes as long when there is no such user."""
    has_password = user is not None and user.password_hash != NO_PASSWORD
    try:
        with _HASHING:
            _HASHER.verify(user.password_hash if user and has_password else _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return has_password


def find(session: Session, username: str) -> User:
    """Look an account up. Raises `NotFound`."""
    user = session.scalar(select(User).where(User.username == username, User.deleted_at.is_(None)))
    if user is None:
        raise NotFound(f"No user {username!r}")
    return user


def page(
    session: Session, cursor: str | None, limit: int, search: str | None = None
) -> tuple[Sequence[User], str | None]:
    """Return the accounts after the cursor, by name, and the cursor of the next page."""
    query = select(User).where(User.deleted_at.is_(None)).order_by(User.username)
    if cursor:
        query = query.where(User.username > cursor)
    if search:
        query = query.where(User.username.icontains(search, autoescape=True))
    rows, has_more = fetch_page(session, query, limit)
    users = [user for (user,) in rows]
    return users, users[-1].username if has_more else None


def create(session: Session, username: str, role: Role, password: str | None) -> User:
    """Add an account. Raises `Conflict` if the name is taken, `InvalidInput` for a bad password."""
    # Hashed before anything is asked or written, so that no writer waits for it.
    user = User(
        username=username,
        password_hash=hash_password(password, username) if password else NO_PASSWORD,
        role=role.value,
    )
    session.add(user)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(f"The username {username!r} is taken", field=("username",)) from error
    return user


def change(session: Session, username: str, patch: UserPatch) -> User:
    """Change an account; of a disabled one every session and API key ends at once.

    Raises:
        NotFound: No such account.
        Conflict: It is the last active admin, who must stay one.
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
    return user


def change_role(session: Session, user: User, role: Role) -> None:
    """Give an account another role. Raises `Conflict` for the last active admin."""
    if role is not Role.ADMIN:
        _keep_one_admin(session, user)
    user.role = role.value


def remove(session: Session, username: str, *, keep_jobs: bool) -> None:
    """Delete an account.

    Args:
        session: Its transaction deletes.
        username: Whose.
        keep_jobs: Jobs and catalogs stay, of an account without a name; else they go too.

    Raises:
        NotFound: No such account.
        Conflict: It is the last active admin.
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
    """Give an account a new password; every session ends.

    It is hashed before the transaction: that is slow on purpose, and other writers would wait.
    """
    user.password_hash = password_hash
    end_sessions(session, user)


def change_password(session: Session, verified: User, password_hash: str) -> None:
    """Give an account a new password in place of the one that was shown; every session ends.

    Args:
        session: Its transaction changes the account.
        verified: As it was when the current password was found to be right.
        password_hash: Of the new one.

    Raises:
        Conflict: It has another password meanwhile, or none.
    """
    changed = session.execute(
        update(User)
        .where(User.id == verified.id, User.password_hash == verified.password_hash)
        .values(password_hash=password_hash)
        .returning(User.id)
    )
    if changed.one_or_none() is None:
        raise Conflict("The password was changed meanwhile. Sign in with the new one")
    end_sessions(session, verified)


def end_access(session: Session, user: User) -> None:
    """End every session, API key and one-time code of a user, at once."""
    end_sessions(session, user)
    session.execute(delete(ApiKey).where(ApiKey.user_id == user.id))
    session.execute(delete(OneTimeCode).where(OneTimeCode.user_id == user.id))


def end_sessions(session: Session, user: User) -> None:
    """Sign a user out everywhere, at once."""
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))


def _keep_one_admin(session: Session, user: User) -> None:
    if user.role != Role.ADMIN.value or not user.is_active:
        return
    # Locked, so that two admins who remove each other at once cannot both succeed.
    admins = session.scalars(
        select(User.id)
        .where(User.role == Role.ADMIN.value, User.is_active)
        .order_by(User.id)
        .with_for_update()
    ).all()
    if not set(admins) - {user.id}:
        raise Conflict(f"{user.username!r} is the last active admin; make another one first")
