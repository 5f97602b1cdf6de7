"""Another user of the machine, who has no secret, reaches only the public routes of the gateway."""

import http.client
import multiprocessing
import os
import socket
import stat
from pathlib import Path

import psutil

from tests.e2e.system import System

NOBODY = 65534
SECONDS = 10
#: Routes of MLflow's own application, of which Rayon serves some, and of Rayon.
ROUTES = (
    ("GET", "/"),
    ("GET", "/version"),
    ("GET", "/metrics"),
    ("GET", "/ajax-api/3.0/mlflow/assistant/config"),
    ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
    ("GET", "/ajax-api/3.0/mlflow/gateway/endpoints/list"),
    ("GET", "/api/2.0/mlflow/webhooks"),
    ("POST", "/ajax-api/3.0/jobs/"),
    ("POST", "/v1/traces"),
    ("POST", "/graphql"),
    ("GET", "/api/2.0/mlflow/registered-models/get?name=rayon"),
    ("POST", "/api/2.0/mlflow/registered-models/alias"),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts"),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/1"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1"),
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/releases"),
    ("GET", "/v1/audit"),
)


def test_another_user_of_the_machine_reaches_only_the_gateway(system: System) -> None:
    ports = listening_ports(system)
    gateway, redis, registry = (
        int(system.environment[f"RAYON_{name}_PORT"]) for name in ("GATEWAY", "REDIS", "MLFLOW")
    )
    assert ports == {gateway, redis, registry}
    with multiprocessing.get_context("fork").Pool(1, become_nobody) as other:
        assert other.apply(greeting, (redis,)).startswith(b"-NOAUTH")
        assert other.apply(statuses, (registry,)) == dict.fromkeys(ROUTES, 401)
        public = {
            route for route, status in other.apply(statuses, (gateway,)).items() if status < 400
        }
        assert public <= {("GET", "/")}
        if os.geteuid() == 0:
            assert other.apply(readable, (system.home,)) == []
            assert other.apply(connects, (system.home / "supervisor.sock",)) is False


def test_secrets_of_the_installation_are_for_their_owner(system: System) -> None:
    assert stat.S_IMODE(system.home.stat().st_mode) == 0o700
    kept = list((system.home / "secrets").iterdir())
    assert "registry_token" in {one.name for one in kept}
    assert {stat.S_IMODE(one.stat().st_mode) for one in kept} == {0o600}


def test_running_registry_has_no_variable_of_rayon(system: System) -> None:
    seen = system.processes()["mlflow"].environ()
    assert {name for name in seen if name.startswith("RAYON_")} == {"RAYON_SUPERVISED_IN"}


def listening_ports(system: System) -> set[int]:
    """Every TCP port on which a process of the system listens."""
    return {
        link.laddr.port
        for process in system.processes().values()
        for one in (process, *process.children(recursive=True))
        for link in one.net_connections("tcp")
        if link.status == psutil.CONN_LISTEN
    }


def become_nobody() -> None:
    """Give up root; without root the process just has no secret."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def statuses(port: int) -> dict[tuple[str, str], int]:
    """Status of each route, asked without a secret."""
    return {route: _status(port, *route) for route in ROUTES}


def _status(port: int, method: str, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(method, path, b"{}", {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def greeting(port: int) -> bytes:
    """First bytes that Redis answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(64)


def readable(home: Path) -> list[str]:
    """Return the files of a folder that this user can read."""
    names = (Path(folder) / name for folder, _, found in os.walk(home) for name in found)
    return [str(path) for path in names if os.access(path, os.R_OK)]


def connects(path: Path) -> bool:
    """Return True if a Unix socket accepts this user."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0
