"""Whether the gateway of this machine takes jobs: `python -m gateway.probe`, for a container."""

import sys
import urllib.request

from shared.settings import GatewayPort


def main() -> int:
    """Ask `/readyz`; returns the exit code."""
    address = f"http://127.0.0.1:{GatewayPort().port}/readyz"
    try:
        with urllib.request.urlopen(address, timeout=5):  # nosec B310  # our own address
            return 0
    except OSError as error:
        print(f"{address}: {error}", file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
