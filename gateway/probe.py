"""Probe the readiness of the gateway in this container: `python -m gateway.probe`.

`python -m gateway.probe 9400 /metrics` probes another process of the same image by port and path.
Containers run it every few seconds, so it imports only fast modules.
"""

import http.client
import os
import sys

TIMEOUT_SECONDS = 5.0
LOOPBACK = "127.0.0.1"


def main() -> int:
    """Request `/readyz`, or the path in the arguments; return the exit code."""
    args = sys.argv[1:] or [os.environ.get("RAYON_GATEWAY_PORT", "8000"), "/readyz"]
    # Another process of the image listens on all addresses, or on this one.
    host = LOOPBACK if sys.argv[1:] else own_host(os.environ.get("RAYON_GATEWAY_HOST", LOOPBACK))
    if len(args) != 2 or not args[0].isdigit():
        print(f"Expected a port and a path. Received: {args}", file=sys.stderr)  # noqa: T201
        return 2
    port, path = args
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except OSError as error:
        print(f"{host} {port} {path}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if status != http.client.OK:
        print(f"{host} {port} {path}: {status}", file=sys.stderr)  # noqa: T201
    return int(status != http.client.OK)


def own_host(host: str) -> str:
    """Return an address on which a server with this one can be reached from its machine."""
    return LOOPBACK if host in ("", "0.0.0.0", "::") else host  # noqa: S104  # nosec B104  # compared


if __name__ == "__main__":
    sys.exit(main())
