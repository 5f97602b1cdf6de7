"""Creates the first admin, and lets Alertmanager in: `python -m gateway.bootstrap`.

The account and the key are in the environment, or in the files that it names.
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
from shared.settings import BrokerSettings, DatabaseSettings, MayBeMissing, Settings


class AdminSettings(Settings):
    """The first account: `RAYON_ADMIN_USERNAME` and `RAYON_ADMIN_PASSWORD`."""

    model_config = SettingsConfigDict(env_prefix="RAYON_ADMIN_", frozen=True)

    username: str = Field(default="admin", min_length=1, max_length=64)
    #: Its file is taken away after the first start; `ensure_admin` asks for it where it is needed.
    password: Annotated[SecretStr | None, MayBeMissing()] = None


def main() -> int:
    """Create the account unless there is an admin already; says in one line what happened."""
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
        print(_let_alertmanager_in(unit_of_work, key.get_secret_value()))  # noqa: T201
    return 0


def ensure_admin(unit_of_work: UnitOfWork, settings: AdminSettings) -> str:
    """Create the admin of the settings unless that name is taken or no password is given.

    Raises:
        InvalidInput: There is no admin, and no password (or one of the wrong length) is given.
        Unavailable: The database does not answer.
    """
    with unit_of_work() as work:
        names = set(work.session.scalars(select(User.username)))
        if settings.username in names:
            return f"The account {settings.username!r} is there."
        if settings.password is None and names:
            return "There are accounts already."
        password = settings.password.get_secret_value() if settings.password else ""
        work.session.add(
            User(
                username=settings.username,
                password_hash=accounts.hash_password(password),
                role=Role.ADMIN.value,
            )
        )
    return f"The admin {settings.username!r} was created."


def _let_alertmanager_in(unit_of_work: UnitOfWork, key: str) -> str:
    try:
        with unit_of_work() as work:
            return ensure_key(work.session, ALERTMANAGER, key, Scope.OPERATIONS_WRITE)
    except RayonError as error:
        # Jobs are answered without Alertmanager too, so this does not hold up the start.
        return f"Alertmanager cannot come in: {error.detail}"


if __name__ == "__main__":
    sys.exit(main())
