"""Single sign-on: an OpenID provider authenticates users, and Rayon authorizes them.

Authlib implements the authorization code flow with PKCE (OpenID Connect Core 1.0, section 3.1;
RFC 7636). An account is tied to the subject that the provider assigns, and not to a username or an
e-mail address, because those can be reassigned to another person.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from gateway.identity import accounts, audit_log
from gateway.identity.principal import Origin, digest
from gateway.identity.schemas.accounts import Username
from gateway.identity.schemas.sessions import TokenPair
from gateway.identity.sessions import Sessions
from gateway.settings import SingleSignOnSettings
from shared.db.models import Role, User
from shared.db.session import UnitOfWork
from shared.errors import Conflict, Forbidden, InvalidInput, Unauthenticated, Unavailable

#: Timeout of requests to the provider.
TIMEOUT_SECONDS = 10.0
#: Tolerated difference between the clocks of Rayon and the provider.
LEEWAY_SECONDS = 30
#: Means of the sign-in in the audit log.
_BY = "single sign-on"
_USERNAME: TypeAdapter[str] = TypeAdapter(Username)
#: The first of these that a user has is their role.
_STRONGEST_FIRST = (Role.ADMIN, Role.OPERATOR, Role.CLIENT)

Claims = Mapping[str, Any]


class SingleSignOn:
    """Redirects users to the provider, and signs them in when they return."""

    def __init__(
        self, settings: SingleSignOnSettings, unit_of_work: UnitOfWork, sessions: Sessions
    ) -> None:
        self._settings = settings
        self._unit_of_work = unit_of_work
        self._sessions = sessions
        self._provider = OAuth().register(
            "provider",
            server_metadata_url=f"{str(settings.issuer).rstrip('/')}/.well-known/openid-configuration",
            client_id=settings.client_id,
            client_secret=settings.client_secret.get_secret_value(),
            client_kwargs={
                "scope": settings.scope,
                "code_challenge_method": "S256",
                "timeout": TIMEOUT_SECONDS,
            },
        )

    @property
    def is_secure(self) -> bool:
        """True if the redirect URL uses TLS."""
        return self._settings.redirect_url.startswith("https://")

    async def leave(self, request: Request) -> Response:
        """Redirect a user to the provider. Raises `Unavailable`."""
        async with _converted_errors():
            redirect: Response = await self._provider.authorize_redirect(
                request, self._settings.redirect_url
            )
            return redirect

    async def arrive(self, request: Request) -> Claims:
        """Return the verified claims of a user who returns from the provider.

        Raises:
            Unauthenticated: The provider refused, or its response does not match the request.
            Unavailable: The provider does not answer.
        """
        async with _converted_errors():
            token = await self._provider.authorize_access_token(
                request,
                leeway=LEEWAY_SECONDS,
                claims_options={"iss": {"essential": True, "values": [self._settings.issuer]}},
            )
        claims: Claims | None = token.get("userinfo")
        if not claims or not claims.get("sub"):
            raise Unauthenticated("Expected an ID token with a subject. Received: none")
        return claims

    def sign_in(self, claims: Claims, origin: Origin) -> TokenPair:
        """Start a session of the user in the claims. Creates the account at the first sign-in.

        Raises:
            Unauthenticated: The account is disabled.
            Forbidden: The user has no role, or no account and none may be created
                with this name.
            Conflict: The username belongs to another account.
        """
        with self._unit_of_work() as work:
            user = self._active_user(work.session, claims, origin)
            return self._sessions.start(work.session, user, origin, by=_BY)

    def sign_in_browser(self, claims: Claims, origin: Origin) -> str:
        """Start a session of the console as `sign_in` does, and return the value of its cookie."""
        with self._unit_of_work() as work:
            user = self._active_user(work.session, claims, origin)
            return self._sessions.browsers.start(work.session, user, origin, by=_BY)

    def _active_user(self, session: Session, claims: Claims, origin: Origin) -> User:
        user = self._user(session, claims, origin)
        if not user.is_active:
            raise Unauthenticated("The account is disabled")
        return user

    def _user(self, session: Session, claims: Claims, origin: Origin) -> User:
        identity = digest(f"{claims['iss']} {claims['sub']}")
        role = self._role(claims)
        user = session.scalar(select(User).where(User.identity_hash == identity))
        if user is None:
            return self._create(session, claims, identity, role or Role.CLIENT, origin)
        if role is not None and role.value != user.role:
            accounts.change_role(session, user, role)
            audit_log.record(
                session,
                origin,
                "user.change",
                actor=_BY,
                target=user.username,
                role=role.value,
            )
        return user

    def _create(
        self, session: Session, claims: Claims, identity: str, role: Role, origin: Origin
    ) -> User:
        username = _username(claims, self._settings.username_claim)
        if not self._settings.creates_accounts:
            raise Forbidden(f"{username!r} has no account. Ask an admin to create one")
        try:
            user = accounts.create(session, username, role, None)
        except Conflict as error:
            raise Conflict(
                f"The username {username!r} belongs to an account without single sign-on"
            ) from error
        except InvalidInput as error:
            raise Forbidden(error.detail) from error
        user.identity_hash = identity
        audit_log.record(
            session,
            origin,
            "user.create",
            actor=_BY,
            target=username,
            role=role.value,
        )
        return user

    def _role(self, claims: Claims) -> Role | None:
        """Return the role in the claims; `None` if roles are managed in Rayon."""
        claim = self._settings.roles_claim
        if claim is None:
            return None
        claimed = claims.get(claim, [])
        values = [claimed] if isinstance(claimed, str) else list(claimed)
        roles = {self._settings.roles[value] for value in values if value in self._settings.roles}
        for role in _STRONGEST_FIRST:
            if role.value in roles:
                return role
        raise Forbidden(
            f"Expected one of {', '.join(sorted(self._settings.roles))} in the claim `{claim}`. "
            f"Received: {', '.join(map(str, values)) or 'none'}"
        )


def _username(claims: Claims, claim: str) -> str:
    try:
        return _USERNAME.validate_python(claims.get(claim))
    except ValidationError as error:
        raise Forbidden(
            f"Expected a username in the claim `{claim}`: {error.errors()[0]['msg']}. "
            f"Received: {claims.get(claim)!r}"
        ) from error


@asynccontextmanager
async def _converted_errors() -> AsyncIterator[None]:
    """Convert errors of the libraries to those of Rayon."""
    try:
        yield
    except httpx2.HTTPError as error:
        raise Unavailable(f"The OpenID provider does not answer: {error}") from error
    except (AuthlibBaseError, JoseError) as error:
        raise Unauthenticated(f"The OpenID provider refused the sign-in: {error}") from error
