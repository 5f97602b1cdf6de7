"""Keys of programs that stand beside Rayon, such as Alertmanager: given, and not shown once."""

from pydantic import SecretStr, field_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gateway.identity.accounts import NO_PASSWORD
from gateway.identity.api_keys import PREFIX, SHOWN
from gateway.identity.principal import digest
from gateway.identity.scopes import Scope
from shared.db.models import ApiKey, Role, User
from shared.errors import Conflict
from shared.settings import Settings

ALERTMANAGER = "alertmanager"
#: 32 random characters of an URL's alphabet are 192 bits.
SHORTEST = len(PREFIX) + 32


class AlertmanagerSettings(Settings):
    """With which key Alertmanager comes: `RAYON_ALERTMANAGER_KEY`, or `..._FILE`."""

    model_config = SettingsConfigDict(env_prefix="RAYON_ALERTMANAGER_", frozen=True)

    key: SecretStr | None = None

    @field_validator("key")
    @classmethod
    def _is_good(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            found = key.get_secret_value()
            if not found.startswith(PREFIX) or len(found) < SHORTEST:
                raise ValueError(f"expected {PREFIX} and at least 32 random characters after it")
        return key


def ensure_key(session: Session, username: str, key: str, scope: Scope) -> str:
    """Let a program in with a key, and with no other; says in one line what happened.

    The account that the key belongs to is made, if need be: an operator without a password.

    Raises:
        Conflict: The account is a person's.
    """
    user = session.scalar(select(User).where(User.username == username))
    if user is None:
        user = User(username=username, password_hash=NO_PASSWORD, role=Role.OPERATOR.value)
        session.add(user)
        session.flush()
    elif user.password_hash != NO_PASSWORD or user.role != Role.OPERATOR.value:
        raise Conflict(f"Expected {username!r} to be no person's account. Received: one that is")
    if session.scalar(select(ApiKey.id).where(ApiKey.key_hash == digest(key))) is not None:
        return f"The key of {username!r} is there."
    session.execute(delete(ApiKey).where(ApiKey.user_id == user.id))
    session.add(
        ApiKey(
            user_id=user.id,
            name=username,
            prefix=key[:SHOWN],
            key_hash=digest(key),
            scopes=[scope.value],
        )
    )
    return f"The key of {username!r} was made known."
