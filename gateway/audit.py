"""Verify the audit log: `python -m gateway.audit verify [--last HASH]`."""

import argparse
import sys

from gateway.identity.audit_log import verify
from shared.broker import Broker
from shared.db.session import UnitOfWork, open_engine
from shared.errors import RayonError
from shared.invalid_settings import run_program
from shared.settings import BrokerSettings, DatabaseSettings


def main() -> int:
    """Verify the hash chain.

    Returns:
        The exit code: 1 if the chain is broken, 2 if it cannot be read.
    """
    parser = argparse.ArgumentParser(prog="python -m gateway.audit")
    verifying = parser.add_subparsers(required=True).add_parser(
        "verify", help="verify the hash chain of the audit log"
    )
    verifying.add_argument(
        "--last", help="hash of an entry that was stored elsewhere, to detect removed entries"
    )
    args = parser.parse_args()
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), Broker(BrokerSettings()))
    try:
        with unit_of_work.reading() as session:
            verdict = verify(session, args.last)
    except RayonError as error:
        print(f"The audit log could not be read: {error.detail}", file=sys.stderr)  # noqa: T201
        return 2
    if verdict.fault:
        print(f"The audit log is broken: {verdict.fault}")  # noqa: T201
        return 1
    print(f"{verdict.entries} entries verified. Hash of the last entry: {verdict.last_hash}")  # noqa: T201
    return 0


if __name__ == "__main__":
    run_program(main)
