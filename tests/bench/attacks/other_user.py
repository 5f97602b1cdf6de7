"""Program that drops to another uid, then tries the ports, sockets and files that stdin names.

It runs alone because a process cannot take its uid back. Without root it keeps its own uid: it has
no secret either, but may read the files of its owner.
"""

import contextlib

# The interpreter may lie in a folder that the other uid cannot enter, so nothing is imported later.
import encodings.idna  # noqa: F401
import http.client
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

NOBODY = 65534
SECONDS = 5
JSON = {"Content-Type": "application/json"}
#: Routes of MLflow: method, path and body.
ROUTES = (
    ("GET", "/", None),
    ("GET", "/ajax-api/3.0/mlflow/assistant/providers", None),
    ("GET", "/ajax-api/3.0/mlflow/assistant/config", None),
    ("GET", "/api/2.0/mlflow/registered-models/search", None),
    (
        "POST",
        "/api/2.0/mlflow/registered-models/alias",
        {"name": "rayon", "alias": "attacked", "version": "1"},
    ),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts", None),
    ("GET", "/api/2.0/mlflow/webhooks", None),
    ("GET", "/ajax-api/3.0/mlflow/gateway/endpoints/list", None),
    ("GET", "/metrics", None),
)
#: Statuses with which a server refuses a route or lacks it.
REFUSED = {400, 401, 403, 404, 405, 421, 501}


def main() -> None:
    """Print what was reached as JSON."""
    tried = json.load(sys.stdin)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    reached = [one for port in tried["ports"] for one in _routes(port)]
    reached += [path for path in tried["sockets"] if _connects(path)]
    json.dump(
        {
            "uid": os.geteuid(),
            "ports": len(tried["ports"]) + len(tried["sockets"]),
            "reached": reached,
            "files": sum(_is_readable(path) for path in _files(Path(tried["home"]))),
        },
        sys.stdout,
    )


def _routes(port: int) -> list[str]:
    """Return the routes of a port that answer without a secret."""
    if _is_open_redis(port):
        return [f"redis:{port}"]
    return [
        f"{method} {path}"
        for method, path, body in ROUTES
        if _status(port, method, path, body) not in REFUSED
    ]


def _is_open_redis(port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection,
    ):
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")
    return False


def _status(port: int, method: str, path: str, body: dict[str, Any] | None) -> int:
    """Return the status of a response; 401 where no HTTP server answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(method, path, json.dumps(body) if body else None, JSON)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 401
    finally:
        connection.close()


def _connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        return connection.connect_ex(path) == 0


def _files(home: Path) -> list[Path]:
    return [Path(folder) / name for folder, _, names in os.walk(home) for name in names]


def _is_readable(path: Path) -> bool:
    # `os.access` is asked with the real uid, which was dropped too.
    return os.access(path, os.R_OK)


if __name__ == "__main__":
    main()
