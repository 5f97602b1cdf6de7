"""Container health check of a local worker: `python -m shared.broker.probe text`.

A worker announces itself while it consumes and exits when it is deaf, so a recent announcement
proves that it works.
"""

import socket
import sys

from shared.broker.celery_broker import Broker
from shared.broker.depth import Worker
from shared.errors import Unavailable
from shared.settings import BrokerSettings


def main() -> int:
    """Search for the announcement and return the exit code."""
    if len(sys.argv) != 2:
        print(f"Expected one name, such as `text`. Received: {sys.argv[1:]}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        names = [worker.name for worker in Broker(BrokerSettings()).workers() if _is_mine(worker)]
    except Unavailable as error:
        print(error.detail, file=sys.stderr)  # noqa: T201
        return 1
    if not names:
        print(f"No {sys.argv[1]} worker on this host has announced itself", file=sys.stderr)  # noqa: T201
    return 0 if names else 1


def _is_mine(worker: Worker) -> bool:
    return worker.name.startswith(f"{sys.argv[1]}@{socket.gethostname()}:")


if __name__ == "__main__":
    sys.exit(main())
