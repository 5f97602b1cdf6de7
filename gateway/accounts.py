"""Accounts: who exists, with which role and password."""

from collections.abc import Sequence

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.deps import Principal
from gateway.schemas import UserCreate, UserPatch
from shared.db.models import LoginSession, Role, User
from shared.errors import Conflict, InvalidInput, NotFound

#: argon2id with the library's own choice of cost (RFC 9106, the low-memory profile).
_HASHER = PasswordHasher()
#: Checked where there is no such username, so that the answer takes as long as where there is.
_NOBODY = _HASHER.hash("nobody has this password")

SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128


def hash_password(password: str) -> str:
    """Hash a password with argon2id. Raises `InvalidInput` for one of the wrong length."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidInput(
            f"Expected a password of {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters. "
            f"Received: {len(password)}",
            field=("password",),
        )
    return _HASHER.hash(password)


def is_password(user: User | None, password: str) -> bool:
    """Whether the password is the user's; takes as long when there is no such user."""
    try:
        _HASHER.verify(user.password_hash if user else _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return user is not None


def find(session: Session, username: str) -> User:
    """Look an account up. Raises `NotFound`."""
    user = session.scalar(select(User).where(User.username == username))
    if user is None:
        raise NotFound(f"No user {username!r}")
    return user


def page(session: Session, cursor: str | None, limit: int) -> Sequence[User]:
    """Accounts by name, those after the cursor; one more than `limit` if there are more."""
    query = select(User).order_by(User.username).limit(limit + 1)
    return session.scalars(query.where(User.username > cursor) if cursor else query).all()


def create(session: Session, wanted: UserCreate) -> User:
    """Add an account. Raises `Conflict` if the name is taken."""
    user = User(
        username=wanted.username,
        password_hash=hash_password(wanted.password),
        role=wanted.role.value,
    )
    session.add(user)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(f"The username {wanted.username!r} is taken", field=("username",)) from error
    return user


def change(session: Session, username: str, patch: UserPatch) -> User:
    """Change an account; a disabled one, or one with a new password, is signed out everywhere.

    Raises:
        NotFound: No such account.
        Conflict: It is the last active admin, who must stay one.
    """
    user = find(session, username)
    loses_admin = (patch.role not in (None, Role.ADMIN)) or patch.is_active is False
    if loses_admin:
        _keep_one_admin(session, user)
    if patch.role is not None:
        user.role = patch.role.value
    if patch.is_active is not None:
        user.is_active = patch.is_active
    if patch.password is not None:
        user.password_hash = hash_password(patch.password)
    if patch.password is not None or patch.is_active is False:
        end_sessions(session, user)
    return user


def remove(session: Session, username: str) -> None:
    """Delete an account with its jobs.

    Raises:
        NotFound: No such account.
        Conflict: It is the last active admin.
    """
    user = find(session, username)
    _keep_one_admin(session, user)
    session.delete(user)


def change_password(session: Session, principal: Principal, current: str, new: str) -> None:
    """Change one's own password; other sessions end, this one too.

    Raises:
        InvalidInput: The current password is not right.
    """
    user = find(session, principal.username)
    if not is_password(user, current):
        raise InvalidInput("The current password is not right", field=("current_password",))
    user.password_hash = hash_password(new)
    end_sessions(session, user)


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
