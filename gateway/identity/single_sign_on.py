"""Single sign-on: an OpenID provider says who somebody is, Rayon what they may do.

Authorization code with PKCE (OpenID Connect Core 1.0, section 3.1; RFC 7636), by Authlib. An
account belongs to the provider's subject and not to a name or an address of mail, for these change
hands.
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
from shared.errors import Conflict, Forbidden, Unauthenticated, Unavailable

#: How long the provider may take for an answer.
TIMEOUT_SECONDS = 10.0
#: How far the clocks may differ.
LEEWAY_SECONDS = 30
_USERNAME: TypeAdapter[str] = TypeAdapter(Username)
#: Of several roles the first one counts.
_STRONGEST_FIRST = (Role.ADMIN, Role.OPERATOR, Role.CLIENT)

Claims = Mapping[str, Any]


class SingleSignOn:
    """Sends people to the provider, and signs in who comes back."""

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
        """Whether people come back by TLS."""
        return self._settings.redirect_url.startswith("https://")

    async def leave(self, request: Request) -> Response:
        """Send somebody to the provider. Raises `Unavailable`."""
        async with _explained():
            answer: Response = await self._provider.authorize_redirect(
                request, self._settings.redirect_url
            )
            return answer

    async def arrive(self, request: Request) -> Claims:
        """Read what the provider says of somebody who comes back.

        Raises:
            Unauthenticated: The provider refused, or what came is not what was asked for.
            Unavailable: The provider does not answer.
        """
        async with _explained():
            token = await self._provider.authorize_access_token(
                request,
                leeway=LEEWAY_SECONDS,
                claims_options={"iss": {"essential": True, "values": [self._settings.issuer]}},
            )
        claims: Claims | None = token.get("userinfo")
        if not claims or not claims.get("sub"):
            raise Unauthenticated("The provider did not say who you are: expected an ID token")
        return claims

    def sign_in(self, claims: Claims, origin: Origin) -> TokenPair:
        """Start a session of whom the claims name, in a new account if there is none.

        Raises:
            Unauthenticated: The account is disabled.
            Forbidden: There is no account, or no role for this person.
            Conflict: The name belongs to an account of somebody else.
        """
        with self._unit_of_work() as work:
            user = self._user(work.session, claims, origin)
            if not user.is_active:
                raise Unauthenticated("The account is disabled")
            return self._sessions.start(work.session, user, origin, by="single sign-on")

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
                actor="single sign-on",
                target=user.username,
                role=role.value,
            )
        return user

    def _create(
        self, session: Session, claims: Claims, identity: str, role: Role, origin: Origin
    ) -> User:
        username = _username(claims, self._settings.username_claim)
        if not self._settings.creates_accounts:
            raise Forbidden(f"{username!r} has no account here; an admin can make one")
        try:
            user = accounts.create(session, username, role, None)
        except Conflict as error:
            raise Conflict(
                f"The username {username!r} belongs to an account that single sign-on did not make"
            ) from error
        user.identity_hash = identity
        audit_log.record(
            session,
            origin,
            "user.create",
            actor="single sign-on",
            target=username,
            role=role.value,
        )
        return user

    def _role(self, claims: Claims) -> Role | None:
        """What the claim says; `None` if roles are Rayon's own business."""
        claim = self._settings.roles_claim
        if claim is None:
            return None
        said = claims.get(claim, [])
        values = [said] if isinstance(said, str) else list(said)
        found = {self._settings.roles[value] for value in values if value in self._settings.roles}
        for role in _STRONGEST_FIRST:
            if role.value in found:
                return role
        raise Forbidden(
            f"Expected one of {', '.join(sorted(self._settings.roles))} in the claim `{claim}`"
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
async def _explained() -> AsyncIterator[None]:
    """Turn the errors of libraries into ours."""
    try:
        yield
    except httpx2.HTTPError as error:
        raise Unavailable(f"The OpenID provider does not answer: {error}") from error
    except (AuthlibBaseError, JoseError) as error:
        raise Unauthenticated(f"The provider did not sign you in: {error}") from error
