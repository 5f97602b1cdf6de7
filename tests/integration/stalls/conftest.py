"""A gateway in a process of its own, with a champion, an account and a key, on real stores."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.identity import api_keys
from gateway.identity.principal import Principal
from gateway.identity.scopes import Scope
from shared.db.models import Promotion, Role, User
from shared.db.session import UnitOfWork
from tests.support import preloaded
from tests.support.servers import free_port, until

START_SECONDS = 240
PRODUCT = {"designation": "Piscine gonflable", "model": "text"}


class Gateway:
    """A running gateway and an operator's headers."""

    def __init__(self, address: str, headers: dict[str, str]) -> None:
        self.address = address
        self.client = httpx.Client(base_url=address, headers=headers, timeout=60)

    def submit(self) -> httpx.Response:
        """Submit a product."""
        return self.client.post("/v1/jobs", data=PRODUCT)

    def is_alive(self) -> bool:
        """Return True if it answers on a connection of its own, as a probe does."""
        try:
            return httpx.get(f"{self.address}/livez", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def key(unit_of_work: UnitOfWork) -> str:
    """Return an API key of an operator."""
    user = User(username="op", password_hash="-", role=Role.OPERATOR.value)
    promotion = Promotion(version="1", promoted_by="op", reason="first", figures={})
    with unit_of_work() as work:
        work.session.add_all([user, promotion])
        work.session.flush()
        principal = Principal(user.id, user.username, Role.OPERATOR, session_id="")
        scopes = [Scope.JOBS_READ, Scope.JOBS_WRITE, Scope.MODELS_READ, Scope.OPERATIONS_READ]
        return api_keys.create(work.session, principal, name="k", scopes=scopes, expires_at=None)[1]


@pytest.fixture
def postmaster(_postgres: Any) -> int:
    """Return the ID of the first process of PostgreSQL."""
    return int(_postgres.get_postmaster_info().pid)


@pytest.fixture
def start_gateway(
    database_url: str, redis_url: str, key: str, tmp_path: Path
) -> Iterator[Callable[..., Gateway]]:
    """Return a function that starts the gateway with more environment variables.

    Its argument `files` is the highest limit of open files that the process may ask for.
    """
    started: list[BaseProcess] = []
    clients: list[httpx.Client] = []
    log = tmp_path / "gateway.log"

    def start(files: int | None = None, **environment: str) -> Gateway:
        port = free_port()
        variables = {
            "RAYON_GATEWAY_PORT": str(port),
            "RAYON_GATEWAY_SECRET_KEY": "s" * 32,
            "RAYON_DATABASE_URL": database_url,
            "RAYON_BROKER_URL": redis_url,
            "RAYON_STORAGE_URL": str(tmp_path / "storage"),
            # Nobody listens there: the ledger names the champion.
            "RAYON_RELEASES_MLFLOW_URL": f"http://127.0.0.1:{free_port()}",
            "RAYON_RELEASES_CACHE": str(tmp_path / "releases"),
            "RAYON_METRICS_PORT": "0",
        }
        running = {**os.environ, **variables, **environment}
        started.append(preloaded.start("gateway.main", running, log, files=files))
        host = "[::1]" if ":" in environment.get("RAYON_GATEWAY_HOST", "") else "127.0.0.1"
        gateway = Gateway(f"http://{host}:{port}", {"X-API-Key": key})
        clients.append(gateway.client)
        until(
            lambda: gateway.is_alive() or started[-1].exitcode is not None,
            START_SECONDS,
            "the gateway answers",
        )
        assert started[-1].exitcode is None
        until(lambda: gateway.submit().status_code == 202, START_SECONDS, "it accepts jobs")
        return gateway

    yield start
    for client in clients:
        client.close()
    for process in started:
        process.kill()
        process.join()
    print(log.read_text()[-4000:] if log.exists() else "")


@contextmanager
def silent_server() -> Iterator[str]:
    """Listen, accept connections and never answer, as a stopped process does; yield the URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
