"""API keys of companion programs such as Alertmanager, read from settings."""

from pydantic import SecretStr, field_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gateway.identity.accounts import NO_PASSWORD
from gateway.identity.api_keys import PREFIX, SHOWN_CHARACTERS
from gateway.identity.principal import digest
from gateway.identity.scopes import Scope
from shared.db.models import ApiKey, Role, User
from shared.errors import Conflict
from shared.settings import Settings

ALERTMANAGER = "alertmanager"
#: Shortest key. 32 random characters of the URL-safe alphabet are 192 bits.
MIN_KEY_CHARACTERS = len(PREFIX) + 32


class AlertmanagerSettings(Settings):
    """The API key of Alertmanager: `RAYON_ALERTMANAGER_KEY`, or `RAYON_ALERTMANAGER_KEY_FILE`."""

    model_config = SettingsConfigDict(env_prefix="RAYON_ALERTMANAGER_", frozen=True)

    key: SecretStr | None = None

    @field_validator("key")
    @classmethod
    def _is_strong(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            secret = key.get_secret_value()
            if not secret.startswith(PREFIX) or len(secret) < MIN_KEY_CHARACTERS:
                raise ValueError(f"expected {PREFIX!r} followed by at least 32 random characters")
        return key


def ensure_key(session: Session, username: str, key: str, scope: Scope) -> str:
    """Make a key the only one of a program. Return a line for the log.

    Creates the account of the program if it is missing: an operator without a password.

    Raises:
        Conflict: The username belongs to a person.
    """
    user = session.scalar(select(User).where(User.username == username))
    if user is None:
        user = User(username=username, password_hash=NO_PASSWORD, role=Role.OPERATOR.value)
        session.add(user)
        session.flush()
    elif user.password_hash != NO_PASSWORD or user.role != Role.OPERATOR.value:
        raise Conflict(
            f"Expected {username!r} to be the account of a program. Received: a person's"
        )
    if session.scalar(select(ApiKey.id).where(ApiKey.key_hash == digest(key))) is not None:
        return f"The key of {username!r} is up to date."
    session.execute(delete(ApiKey).where(ApiKey.user_id == user.id))
    session.add(
        ApiKey(
            user_id=user.id,
            name=username,
            prefix=key[:SHOWN_CHARACTERS],
            key_hash=digest(key),
            scopes=[scope.value],
        )
    )
    return f"The key of {username!r} has been registered."
