"""Signed-in sessions, with short-lived access tokens and single-use refresh tokens.

A refresh token that is used twice may have been stolen, so its session ends (RFC 9700, section
4.14.2). The previous token stays valid for a few seconds, because a client whose response was lost
repeats the request, and processes of a client may refresh at the same time. All of them get the
same new token. A token that was never issued is refused and ends nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from gateway.identity import accounts, audit_log
from gateway.identity.browser_sessions import BrowserSessions
from gateway.identity.principal import AccessTokens, Claims, Origin, Principal, digest
from gateway.identity.schemas.sessions import TokenPair
from gateway.identity.sealed import KnownDevices, NameHashes, RefreshSecrets
from gateway.identity.sign_in_limits import Attempt, SignInLimits
from gateway.settings import GatewaySettings
from shared.db.models import LoginSession, Role, User, new_id, now
from shared.db.session import UnitOfWork
from shared.errors import InvalidInput, NotFound, Unauthenticated

log = structlog.get_logger(__name__)


class Sessions:
    """Starts, refreshes and ends sessions."""

    def __init__(
        self, settings: GatewaySettings, unit_of_work: UnitOfWork, limits: SignInLimits
    ) -> None:
        self.devices = KnownDevices(settings, limits.known_days)
        self.browsers = BrowserSessions(settings, unit_of_work)
        self._limits = limits
        self._names = NameHashes(settings)
        self._secrets = RefreshSecrets(settings)
        self._access = AccessTokens(settings)
        self._lifetime = timedelta(seconds=settings.refresh_token_seconds)
        self._longest = timedelta(seconds=settings.session_seconds)
        self._leeway = timedelta(seconds=settings.refresh_leeway_seconds)
        self._unit_of_work = unit_of_work
        accounts.dummy_hash()

    def sign_in(
        self, username: str, password: str, origin: Origin, device: str | None = None
    ) -> TokenPair:
        """Verify a password and start a session; `device` is the cookie of a known device.

        Raises:
            Unauthenticated: The username or password is wrong, or the account is disabled. The
                error does not reveal which.
            Limited: Too many attempts have failed.
        """
        user = self.verify(username, password, origin, device)
        with self._unit_of_work() as work:
            return self.start(work.session, user, origin)

    def verify(self, username: str, password: str, origin: Origin, device: str | None) -> User:
        """Return the user of a username and a password, and count failed attempts.

        Raises:
            Unauthenticated, Limited: As `sign_in`.
        """
        with self._limits.counted(self._attempt(username, origin, device)):
            return self._verified(username, password, origin)

    def _attempt(self, username: str, origin: Origin, device: str | None) -> Attempt:
        known = self.devices.find(device, username)
        return Attempt(username, self._names.of(username), origin, known)

    def _verified(self, username: str, password: str, origin: Origin) -> User:
        with self._unit_of_work.reading() as session:
            user = session.scalar(select(User).where(User.username == username))
        # Hashing is slow on purpose. It happens outside of a transaction, so that no writer waits.
        if not accounts.is_password(user, password) or user is None or not user.is_active:
            actor = self._names.unknown(username) if user is None else user.username
            with self._unit_of_work() as work:
                audit_log.record(work.session, origin, "session.refuse", actor=actor)
            raise Unauthenticated("The username or the password is wrong")
        return user

    def change_password(
        self,
        principal: Principal,
        current: str,
        new: str,
        origin: Origin,
        *,
        device: str | None = None,
        end_api_keys: bool = False,
    ) -> None:
        """Change the caller's password and end all their sessions, this one included.

        The sessions end because whoever knows the old password may have started them; so may API
        keys, if `end_api_keys` is set.

        Raises:
            InvalidInput: The current password is wrong, or the new one is refused.
            Conflict: The password was changed by another request in the meantime.
            Limited: Too many attempts have failed, here or at sign-in.
        """
        with self._limits.counted(self._attempt(principal.username, origin, device)):
            user = self._confirmed(principal, current, origin)
        hashed = accounts.hash_password(new, user.username)
        with self._unit_of_work() as work:
            accounts.change_password(work.session, user, hashed)
            if end_api_keys:
                accounts.end_api_keys(work.session, user)
            audit_log.record(
                work.session,
                origin,
                "password.change",
                actor=user.username,
                end_api_keys=end_api_keys,
            )

    def _confirmed(self, principal: Principal, current: str, origin: Origin) -> User:
        with self._unit_of_work.reading() as session:
            user = accounts.find(session, principal.username)
        # Hashed outside of a transaction, as in `_verified`.
        if not accounts.is_password(user, current):
            with self._unit_of_work() as work:
                audit_log.record(work.session, origin, "password.refuse", actor=user.username)
            raise InvalidInput("The current password is wrong", field=("current_password",))
        return user

    def start(self, session: Session, user: User, origin: Origin, **details: Any) -> TokenPair:
        """Start a session of an authenticated user; `details` go into the audit log."""
        session_id = new_id()
        secret = self._secrets.first(session_id)
        login = LoginSession(
            id=session_id,
            user_id=user.id,
            token_hash=digest(secret),
            expires_at=now() + min(self._lifetime, self._longest),
            address=origin.address,
            agent=origin.agent,
        )
        session.add(login)
        audit_log.record(session, origin, audit_log.SIGNED_IN, actor=user.username, **details)
        return self._pair(login, secret)

    def refresh(self, token: str, origin: Origin) -> TokenPair:
        """Exchange a refresh token for new tokens.

        Raises:
            Unauthenticated: The token is unknown, expired or used, or the account is disabled.
        """
        session_id, _, secret = token.partition(".")
        with self._unit_of_work() as work:
            login = work.session.get(LoginSession, session_id, with_for_update=True)
            pair = self._refreshed(work.session, login, secret, origin) if login else None
        # Raised after the transaction, which may have ended the session.
        if pair is None:
            raise Unauthenticated("The refresh token is invalid")
        return pair

    def _refreshed(
        self, session: Session, login: LoginSession, secret: str, origin: Origin
    ) -> TokenPair | None:
        used = digest(secret)
        if not self._is_valid(login, used):
            if used == login.previous_hash or self._secrets.is_issued(login.id, secret):
                self._end_reused(session, login, origin)
            return None
        if login.expires_at <= now():
            session.delete(login)
            return None
        if used == login.token_hash:
            login.refreshed_at = now()
            login.expires_at = min(now() + self._lifetime, login.created_at + self._longest)
        fresh = self._secrets.after(login.id, secret)
        login.previous_hash, login.token_hash = used, digest(fresh)
        return self._pair(login, fresh)

    def _is_valid(self, login: LoginSession, token_hash: str) -> bool:
        if token_hash == login.token_hash:
            return True
        is_fresh = login.refreshed_at is not None and now() <= login.refreshed_at + self._leeway
        return is_fresh and token_hash == login.previous_hash

    def _end_reused(self, session: Session, login: LoginSession, origin: Origin) -> None:
        user = session.get_one(User, login.user_id)
        session.delete(login)
        log.warning("refresh_token_reused", session_id=login.id)
        audit_log.record(session, origin, "session.reuse", actor=user.username, target=login.id)

    def sign_out(self, principal: Principal, origin: Origin) -> None:
        """End the session of the caller and its access tokens."""
        self.end(principal, principal.session_id, origin)

    def end(self, principal: Principal, session_id: str, origin: Origin) -> None:
        """End one of the caller's sessions. Raises `NotFound`."""
        with self._unit_of_work() as work:
            end_session(work.session, principal.id, session_id)
            audit_log.record(
                work.session, origin, "session.end", actor=principal.username, target=session_id
            )

    def end_others(self, principal: Principal, origin: Origin) -> None:
        """End all sessions of the caller except the current one."""
        with self._unit_of_work() as work:
            work.session.execute(
                delete(LoginSession).where(
                    LoginSession.user_id == principal.id, LoginSession.id != principal.session_id
                )
            )
            audit_log.record(work.session, origin, "session.end_others", actor=principal.username)

    def principal(self, access_token: str) -> Principal:
        """Return the principal of an access token.

        Raises:
            Unauthenticated: The token is invalid, its session has ended, or the account is
                disabled or deleted.
        """
        found = self.principals([access_token])[0]
        if isinstance(found, Unauthenticated):
            raise found
        return found

    def principals(self, access_tokens: Sequence[str]) -> list[Principal | Unauthenticated]:
        """Return the principal of each access token, or the error of `principal`."""
        claims = [self._claims(token) for token in access_tokens]
        ids = {one.session_id for one in claims if isinstance(one, Claims)}
        rows: Sequence[Any] = []
        if ids:
            with self._unit_of_work.querying() as connection:
                rows = connection.execute(_SIGNED_IN, {"session_ids": list(ids)}).all()
        users = {Claims(row.id, row.session_id): row for row in rows}
        return [_principal(one, users) for one in claims]

    def _claims(self, access_token: str) -> Claims | Unauthenticated:
        try:
            return self._access.read(access_token)
        except Unauthenticated as error:
            return error

    def _pair(self, login: LoginSession, secret: str) -> TokenPair:
        return TokenPair(
            access_token=self._access.sign(Claims(login.user_id, login.id)),
            refresh_token=f"{login.id}.{secret}",
            expires_in=self._access.seconds,
        )


def _principal(
    claims: Claims | Unauthenticated, users: Mapping[Claims, Any]
) -> Principal | Unauthenticated:
    if isinstance(claims, Unauthenticated):
        return claims
    user = users.get(claims)
    if user is None:
        return Unauthenticated("The session has ended")
    return Principal(user.id, user.username, Role(user.role), claims.session_id)


def sessions_of(session: Session, user_id: str) -> Sequence[LoginSession]:
    """Return the sessions of a user, newest first."""
    return session.scalars(
        select(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.expires_at > now())
        .order_by(LoginSession.id.desc())
    ).all()


def end_session(session: Session, user_id: str, session_id: str) -> None:
    """End one of the sessions of a user. Raises `NotFound`."""
    login = session.get(LoginSession, session_id)
    if login is None or login.user_id != user_id:
        raise NotFound(f"No session {session_id!r}")
    session.delete(login)


def delete_expired(session: Session) -> None:
    """Delete expired sessions."""
    session.execute(delete(LoginSession).where(LoginSession.expires_at <= now()))


#: Runs with every request. It is built once, because building it costs more than executing it.
_SIGNED_IN = (
    select(User.id, User.username, User.role, LoginSession.id.label("session_id"))
    .join(LoginSession, LoginSession.user_id == User.id)
    .where(LoginSession.id.in_(bindparam("session_ids", expanding=True)), User.is_active)
)
