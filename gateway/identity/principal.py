"""Principals and access tokens: the identity behind a request."""

import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import jwt
from cachetools import LRUCache

from gateway.settings import GatewaySettings
from shared.db.models import Role
from shared.errors import Unauthenticated

ALGORITHM = "HS256"
ISSUER = "rayon"
AUDIENCE = "rayon-api"
ACCESS = "access"
EXPIRED = "The access token has expired"
#: Verified tokens that are remembered. To verify one takes a quarter of the time of a sign-in.
MOST_VERIFIED = 1_024


@dataclass(frozen=True)
class Origin:
    """The client address, user agent and trace id of a request."""

    address: str | None
    agent: str | None
    trace_id: str


@dataclass(frozen=True)
class Principal:
    """The caller of a request: a signed-in person, or a program with an API key."""

    id: str
    username: str
    role: Role
    session_id: str
    #: The scopes of the API key; `None` for a signed-in person.
    scopes: frozenset[str] | None = None
    key_id: str | None = None
    #: True if the use of the API key is to be recorded, for the first time or once more.
    is_use_due: bool = False
    #: The language of the account; `None` if the browser decides. Known in the console only.
    language: str | None = None

    @property
    def is_admin(self) -> bool:
        """True for admins, who manage accounts and releases."""
        return self.role is Role.ADMIN

    @property
    def is_operator(self) -> bool:
        """True for operators and admins, who manage queues and training."""
        return self.role in (Role.ADMIN, Role.OPERATOR)


@dataclass(frozen=True)
class Claims:
    """The user and session of an access token."""

    user_id: str
    session_id: str


class AccessTokens:
    """Signs and verifies access tokens (JWT, HS256)."""

    def __init__(self, settings: GatewaySettings) -> None:
        keys = (settings.secret_key, *settings.previous_secret_keys)
        secrets_ = [key.get_secret_value() for key in keys]
        self._signing = secrets_[0]
        #: Signing keys by the `kid` of the token header. Replaced keys still verify their tokens.
        self._keys = {_key_id(secret): secret for secret in secrets_}
        self.seconds = settings.access_token_seconds
        #: Claims and Unix time of expiry of tokens whose signature was verified: it never changes.
        self._verified: LRUCache[str, tuple[Claims, float]] = LRUCache(MOST_VERIFIED)
        self._lock = threading.Lock()

    def sign(self, claims: Claims) -> str:
        """Return a signed token that expires after `seconds`."""
        issued_at = datetime.now(UTC)
        return jwt.encode(
            {
                "iss": ISSUER,
                "aud": AUDIENCE,
                "typ": ACCESS,
                "sub": claims.user_id,
                "sid": claims.session_id,
                "iat": issued_at,
                "exp": issued_at + timedelta(seconds=self.seconds),
            },
            self._signing,
            algorithm=ALGORITHM,
            headers={"kid": _key_id(self._signing)},
        )

    def read(self, token: str) -> Claims:
        """Verify a token and return its claims.

        Raises:
            Unauthenticated: The token has expired or was not issued by and for this API.
        """
        with self._lock:
            known = self._verified.get(token)
        if known is None:
            known = self._verify(token)
            with self._lock:
                self._verified[token] = known
        claims, expires_at = known
        if expires_at <= time.time():
            raise Unauthenticated(EXPIRED)
        return claims

    def _verify(self, token: str) -> tuple[Claims, float]:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            claims = jwt.decode(
                token,
                self._keys.get(str(key_id), self._signing),
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": ["exp", "iat", "iss", "aud", "sub", "sid", "typ"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthenticated(EXPIRED) from error
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("The access token is invalid") from error
        if claims["typ"] != ACCESS:
            raise Unauthenticated(f"Expected an access token. Received: type {claims['typ']!r}")
        return Claims(user_id=claims["sub"], session_id=claims["sid"]), float(claims["exp"])


def _key_id(secret: str) -> str:
    return sha256(f"rayon-key-id:{secret}".encode()).hexdigest()[:8]


def new_secret() -> str:
    """Return 256 random bits as URL-safe text."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return the SHA-256 of a random secret, which needs no slow hash."""
    return sha256(secret.encode()).hexdigest()
