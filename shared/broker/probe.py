"""Container health check of a local worker: `python -m shared.broker.probe text`.

A worker announces itself while it consumes and exits when it is deaf, so a recent announcement
proves that it works.
"""

import socket
import sys

from shared.broker.celery_broker import Broker
from shared.broker.depth import Worker
from shared.errors import Unavailable
from shared.invalid_settings import run_program
from shared.settings import BrokerSettings


def main() -> int:
    """Search for the announcement and return the exit code."""
    if len(sys.argv) != 2:
        print(f"Expected one name, such as `text`. Received: {sys.argv[1:]}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        mine = [worker for worker in Broker(BrokerSettings()).workers() if _is_mine(worker)]
    except Unavailable as error:
        print(error.detail, file=sys.stderr)  # noqa: T201
        return 1
    if not mine:
        print(f"No {sys.argv[1]} worker on this host has announced itself", file=sys.stderr)  # noqa: T201
    for worker in mine:
        # Said, but no failure: a restart does not help, and the worker serves its other releases.
        for version, reason in worker.unloadable.items():
            print(f"{worker.name} cannot load release {version}: {reason}")  # noqa: T201
    return 0 if mine else 1


def _is_mine(worker: Worker) -> bool:
    return worker.name.startswith(f"{sys.argv[1]}@{socket.gethostname()}:")


if __name__ == "__main__":
    run_program(main)
