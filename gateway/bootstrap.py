"""Create the first admin and the API key of Alertmanager: `python -m gateway.bootstrap`.

Password and key are read from environment variables, or from the files that these name.
"""

import sys
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict
from sqlalchemy import select

from gateway.identity import accounts
from gateway.identity.scopes import Scope
from gateway.identity.service_keys import ALERTMANAGER, AlertmanagerSettings, ensure_key
from shared.broker import Broker
from shared.db.models import Role, User
from shared.db.session import UnitOfWork, open_engine
from shared.errors import RayonError
from shared.invalid_settings import run_program
from shared.settings import BrokerSettings, DatabaseSettings, MayBeMissing, Settings


class AdminSettings(Settings):
    """Username and password of the first admin (`RAYON_ADMIN_USERNAME`, `RAYON_ADMIN_PASSWORD`)."""

    model_config = SettingsConfigDict(env_prefix="RAYON_ADMIN_", frozen=True)

    username: str = Field(default="admin", min_length=1, max_length=64)
    #: Its file may be deleted after the first start. `ensure_admin` raises an error while it is
    #: needed.
    password: Annotated[SecretStr | None, MayBeMissing()] = None


def main() -> int:
    """Create the first admin and the key, and print the outcome. Return the exit code."""
    settings = AdminSettings()
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), Broker(BrokerSettings()))
    try:
        message = ensure_admin(unit_of_work, settings)
    except RayonError as error:
        print(f"The first admin could not be created: {error.detail}", file=sys.stderr)  # noqa: T201
        return 1
    print(message)  # noqa: T201
    key = AlertmanagerSettings().key
    if key is not None:
        print(_store_alertmanager_key(unit_of_work, key.get_secret_value()))  # noqa: T201
    return 0


def ensure_admin(unit_of_work: UnitOfWork, settings: AdminSettings) -> str:
    """Create the admin of the settings, unless accounts exist. Return the outcome in a sentence.

    Raises:
        InvalidInput: No admin exists, and the password is missing or has the wrong length.
        Unavailable: The database does not answer.
    """
    with unit_of_work() as work:
        names = set(work.session.scalars(select(User.username)))
        if settings.username in names:
            return f"The account {settings.username!r} exists already."
        if settings.password is None and names:
            return "Other accounts exist already."
        password = settings.password.get_secret_value() if settings.password else ""
        work.session.add(
            User(
                username=settings.username,
                password_hash=accounts.hash_password(password),
                role=Role.ADMIN.value,
            )
        )
    return f"The admin {settings.username!r} was created."


def _store_alertmanager_key(unit_of_work: UnitOfWork, key: str) -> str:
    try:
        with unit_of_work() as work:
            return ensure_key(work.session, ALERTMANAGER, key, Scope.OPERATIONS_WRITE)
    except RayonError as error:
        # Jobs do not depend on Alertmanager, so a failure here does not block the start.
        return f"The API key of Alertmanager could not be stored: {error.detail}"


if __name__ == "__main__":
    run_program(main)
