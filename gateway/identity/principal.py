"""What the nouns share: who asks, by the token's claims, and how a list goes on."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import jwt

from gateway.settings import GatewaySettings
from shared.db.models import Role
from shared.errors import Unauthenticated

ALGORITHM = "HS256"
ISSUER = "rayon"
AUDIENCE = "rayon-api"
ACCESS = "access"


@dataclass(frozen=True)
class Origin:
    """Where a request came from."""

    address: str | None
    agent: str | None
    trace_id: str


@dataclass(frozen=True)
class Principal:
    """Who asks: a person who is signed in, or a program with an API key."""

    id: str
    username: str
    role: Role
    session_id: str
    #: What the API key is for; `None` for a person who is signed in.
    scopes: frozenset[str] | None = None
    key_id: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether accounts and releases are this person's business."""
        return self.role is Role.ADMIN

    @property
    def is_operator(self) -> bool:
        """Whether queues and training are this person's business."""
        return self.role in (Role.ADMIN, Role.OPERATOR)


@dataclass(frozen=True)
class Claims:
    """What an access token says."""

    user_id: str
    session_id: str


class AccessTokens:
    """Signs and reads access tokens."""

    def __init__(self, settings: GatewaySettings) -> None:
        keys = (settings.secret_key, *settings.previous_secret_keys)
        secrets_ = [key.get_secret_value() for key in keys]
        self._signing = secrets_[0]
        #: By what the token's head names it; a key that was replaced still reads what it signed.
        self._keys = {_key_id(secret): secret for secret in secrets_}
        self.seconds = settings.access_token_seconds

    def sign(self, claims: Claims) -> str:
        """Make a token that ends after `seconds`."""
        moment = datetime.now(UTC)
        return jwt.encode(
            {
                "iss": ISSUER,
                "aud": AUDIENCE,
                "typ": ACCESS,
                "sub": claims.user_id,
                "sid": claims.session_id,
                "iat": moment,
                "exp": moment + timedelta(seconds=self.seconds),
            },
            self._signing,
            algorithm=ALGORITHM,
            headers={"kid": _key_id(self._signing)},
        )

    def read(self, token: str) -> Claims:
        """Check a token. Raises `Unauthenticated` if it is not ours, not meant for us, or over."""
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
            raise Unauthenticated("The access token has expired") from error
        except jwt.InvalidTokenError as error:
            raise Unauthenticated("The access token is not valid") from error
        if claims["typ"] != ACCESS:
            raise Unauthenticated("Expected an access token")
        return Claims(user_id=claims["sub"], session_id=claims["sid"])


def _key_id(secret: str) -> str:
    return sha256(f"rayon-key-id:{secret}".encode()).hexdigest()[:8]


def new_secret() -> str:
    """Make 256 random bits, as text that fits a URL."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """SHA-256 of a random secret; such a one needs no slow hash."""
    return sha256(secret.encode()).hexdigest()
