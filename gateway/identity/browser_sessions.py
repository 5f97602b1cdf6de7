"""Sessions of the console: a cookie names a session and proves it with a secret.

The session is the same row as that of the API, so accounts list and end both alike. Its secret is
not rotated: a page sends several requests at once. It is no refresh token, because the hash that is
stored depends on the purpose of the secret.
"""

import hmac
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from gateway.identity import audit_log
from gateway.identity.principal import Origin, Principal, digest, new_secret
from gateway.settings import GatewaySettings
from shared.db.models import LoginSession, Role, User, new_id, now
from shared.db.session import UnitOfWork
from shared.errors import Unauthenticated

#: Least time between two renewals of a session, so that most requests write nothing.
RENEWAL = timedelta(hours=1)


class BrowserSessions:
    """Starts sessions of browsers, and recognizes and renews them."""

    def __init__(self, settings: GatewaySettings, unit_of_work: UnitOfWork) -> None:
        self._lifetime = timedelta(seconds=settings.refresh_token_seconds)
        self._longest = timedelta(seconds=settings.session_seconds)
        self._unit_of_work = unit_of_work

    def start(self, session: Session, user: User, origin: Origin, by: str = "console") -> str:
        """Start a session of an authenticated user and return the value of its cookie.

        Args:
            session: The session of the transaction.
            user: The user, whose account is active.
            origin: The browser.
            by: How the user signed in, for the audit log.
        """
        session_id, secret = new_id(), new_secret()
        session.add(
            LoginSession(
                id=session_id,
                user_id=user.id,
                token_hash=_hash(secret),
                expires_at=now() + min(self._lifetime, self._longest),
                address=origin.address,
                agent=origin.agent,
            )
        )
        audit_log.record(session, origin, audit_log.SIGNED_IN, actor=user.username, by=by)
        return f"{session_id}.{secret}"

    def principal(self, cookie: str) -> Principal:
        """Return the principal of a cookie, and renew its session from time to time.

        Raises:
            Unauthenticated: The cookie is invalid, its session has ended, or the account is
                disabled or deleted.
        """
        session_id, _, secret = cookie.partition(".")
        with self._unit_of_work.reading() as session:
            found = session.execute(_SIGNED_IN, {"session_id": session_id}).one_or_none()
        if found is None or not hmac.compare_digest(found.token_hash, _hash(secret)):
            raise Unauthenticated("The session has ended")
        if found.expires_at <= now():
            raise Unauthenticated("The session has expired")
        if now() - (found.refreshed_at or found.created_at) > RENEWAL:
            self._renew(session_id, found.created_at + self._longest)
        return Principal(
            found.id, found.username, Role(found.role), session_id, language=found.language
        )

    def _renew(self, session_id: str, latest: datetime) -> None:
        moment = now()
        with self._unit_of_work() as work:
            work.session.execute(
                update(LoginSession)
                .where(LoginSession.id == session_id)
                .values(refreshed_at=moment, expires_at=min(moment + self._lifetime, latest))
            )


def _hash(secret: str) -> str:
    return digest(f"rayon-console:{secret}")


#: Runs with every request. It is built once, because building it costs more than executing it.
_SIGNED_IN = (
    select(
        User.id,
        User.username,
        User.role,
        User.language,
        LoginSession.token_hash,
        LoginSession.created_at,
        LoginSession.refreshed_at,
        LoginSession.expires_at,
    )
    .join(LoginSession, LoginSession.user_id == User.id)
    .where(LoginSession.id == bindparam("session_id"), User.is_active)
)
