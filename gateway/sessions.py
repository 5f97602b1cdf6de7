"""Signed-in sessions: short access tokens, and refresh tokens that are valid once."""

from datetime import timedelta

import structlog
from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from gateway.accounts import is_password
from gateway.deps import AccessTokens, Claims, Principal, digest, new_secret
from gateway.schemas import TokenPair
from shared.db.models import LoginSession, Role, User, new_id, now
from shared.db.session import UnitOfWork
from shared.errors import Unauthenticated
from shared.settings import GatewaySettings

log = structlog.get_logger(__name__)


class Sessions:
    """Signs people in and out."""

    def __init__(self, settings: GatewaySettings, unit_of_work: UnitOfWork) -> None:
        self._access = AccessTokens(settings)
        self._lifetime = timedelta(seconds=settings.refresh_token_seconds)
        self._unit_of_work = unit_of_work

    def sign_in(self, username: str, password: str) -> TokenPair:
        """Start a session.

        Raises:
            Unauthenticated: Wrong name, wrong password or disabled; which of them is not said.
        """
        with self._unit_of_work.reading() as session:
            user = session.scalar(select(User).where(User.username == username))
        # Checked outside of a transaction: the hash is slow on purpose, and writers would wait.
        if not is_password(user, password) or user is None or not user.is_active:
            log.info("sign_in_refused")
            raise Unauthenticated("The username or the password is not right")
        secret = new_secret()
        login = LoginSession(
            id=new_id(),
            user_id=user.id,
            token_hash=digest(secret),
            expires_at=now() + self._lifetime,
        )
        with self._unit_of_work() as work:
            work.session.add(login)
        return self._pair(login, secret)

    def refresh(self, token: str) -> TokenPair:
        """Trade a refresh token for new ones.

        Raises:
            Unauthenticated: Unknown, over, or used before; a token that is used twice was stolen
                from somebody, so its whole session ends.
        """
        session_id, _, secret = token.partition(".")
        fresh = new_secret()
        with self._unit_of_work() as work:
            login = work.session.get(LoginSession, session_id, with_for_update=True)
            is_reused = login is not None and login.token_hash != digest(secret)
            if login is None or is_reused or login.expires_at <= now():
                if login is not None:
                    work.session.delete(login)
                login = None
            else:
                login.token_hash = digest(fresh)
                login.expires_at = now() + self._lifetime
        if login is None:
            if is_reused:
                log.warning("refresh_token_reused", session_id=session_id)
            raise Unauthenticated("The refresh token is not valid")
        return self._pair(login, fresh)

    def sign_out(self, principal: Principal) -> None:
        """End the session at once, its access tokens included."""
        with self._unit_of_work() as work:
            work.session.execute(
                delete(LoginSession).where(LoginSession.id == principal.session_id)
            )

    def principal(self, access_token: str) -> Principal:
        """Find who an access token belongs to.

        Raises:
            Unauthenticated: The token is not valid, its session has ended, or the account is
                disabled or gone.
        """
        claims = self._access.read(access_token)
        with self._unit_of_work.reading() as session:
            asked = {"session_id": claims.session_id, "user_id": claims.user_id}
            user = session.execute(_SIGNED_IN, asked).one_or_none()
        if user is None:
            raise Unauthenticated("The session has ended")
        return Principal(user.id, user.username, Role(user.role), claims.session_id)

    def _pair(self, login: LoginSession, secret: str) -> TokenPair:
        return TokenPair(
            access_token=self._access.sign(Claims(login.user_id, login.id)),
            # The session's name travels along, so that reuse can be told from nonsense.
            refresh_token=f"{login.id}.{secret}",
            expires_in=self._access.seconds,
        )


def delete_expired(session: Session) -> None:
    """Forget sessions that nobody can refresh any more."""
    session.execute(delete(LoginSession).where(LoginSession.expires_at <= now()))


#: Made once: it is asked with every request, and building it would cost more than asking.
_SIGNED_IN = (
    select(User.id, User.username, User.role)
    .join(LoginSession, LoginSession.user_id == User.id)
    .where(
        LoginSession.id == bindparam("session_id"),
        User.id == bindparam("user_id"),
        User.is_active,
    )
)
