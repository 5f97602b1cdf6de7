"""Bring the database up to the newest revision: `python -m shared.db.migrations`."""

import sys

from sqlalchemy.exc import SQLAlchemyError

from shared.db.migrations.upgrade import upgrade
from shared.settings import DatabaseSettings


def main() -> int:
    """Upgrade, or say in one line why not."""
    try:
        upgrade(DatabaseSettings().url.get_secret_value())
    except SQLAlchemyError as error:
        print(f"The database could not be migrated: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
