"""Upgrade the database to the newest revision: `python -m shared.db.migrations`."""

import sys

from sqlalchemy.exc import SQLAlchemyError

from shared.db.migrations.upgrade import is_of_a_newer_version, upgrade
from shared.invalid_settings import run_program
from shared.settings import DatabaseSettings


def main() -> int:
    """Upgrade the database, or print the reason for a failure in one line."""
    url = DatabaseSettings().url.get_secret_value()
    try:
        if is_of_a_newer_version(url):
            # Rayon was rolled back. The newer tables are kept, because this version works on them.
            print("The database is of a newer version and stays as it is")
            return 0
        upgrade(url)
    except SQLAlchemyError as error:
        print(f"The database could not be migrated: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run_program(main)
