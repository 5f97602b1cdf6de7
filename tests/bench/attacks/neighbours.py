"""Other users of the machine: what they reach without a secret."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from infra.embedded.settings import PROJECT
from tests.bench.attacks.figure import Figure
from tests.bench.attacks.target import Target

#: Secrets of the system that the MLflow server has no use for.
SECRETS = {
    "RAYON_ADMIN_PASSWORD",
    "RAYON_GATEWAY_SECRET_KEY",
    "RAYON_BROKER_URL",
    "RAYON_DATABASE_URL",
}
HELPER_SECONDS = 60


def attacks(target: Target) -> list[Figure]:
    """Try every listening port and every file as another user."""
    found = _as_other_user(target)
    environment = set(_environment(target, "mlflow"))
    ports = f"{found['ports']} ports and sockets tried as uid {found['uid']}"
    reached = ", ".join(found["reached"])[:160]
    return [
        Figure(
            "1",
            "routes and servers that another uid reaches without a secret",
            len(found["reached"]),
            "routes",
            0,
            "test_another_user_of_the_machine_reaches_only_the_gateway",
            f"{ports}: {reached}" if reached else ports,
        ),
        Figure(
            "1",
            "secrets of others in the environment of the MLflow server",
            len(environment & SECRETS),
            "secrets",
            0,
            "test_mlflow_gets_no_variable_of_rayon",
        ),
        Figure(
            "low",
            "files in an existing RAYON_HOME of mode 0755 that another uid reads",
            found["files"],
            "files",
            0,
            "test_home_is_closed_to_others",
        ),
    ]


def _as_other_user(target: Target) -> dict[str, Any]:
    tried = {
        "ports": sorted(_listening_ports(target) - {target.endpoint[1]}),
        "sockets": sorted(_sockets(target)),
        "home": str(target.system.home),
    }
    answer = subprocess.run(
        [sys.executable, "-m", "tests.bench.attacks.other_user"],
        cwd=PROJECT,
        input=json.dumps(tried),
        capture_output=True,
        text=True,
        check=True,
        timeout=HELPER_SECONDS,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def _listening_ports(target: Target) -> set[int]:
    return {
        connection.laddr.port
        for process in _family(target)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def _sockets(target: Target) -> set[str]:
    bound = {
        str(connection.laddr)
        for process in _family(target)
        for connection in process.net_connections("unix")
    }
    return {path for path in bound if path.startswith("/") and Path(path).exists()}


def _family(target: Target) -> list[psutil.Process]:
    roots = target.system.processes().values()
    return [one for root in roots for one in (root, *root.children(recursive=True))]


def _environment(target: Target, name: str) -> list[str]:
    # The file is read because psutil hides what a process has changed since its start.
    content = Path(f"/proc/{target.process(name).pid}/environ").read_text(errors="replace")
    return re.findall(r"(?:^|\0)([^=\0]+)=", content)
