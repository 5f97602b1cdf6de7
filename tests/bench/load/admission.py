"""Cost of `POST /v1/jobs`, compared with a bare endpoint that writes one row.

    make admission

Starts a throw-away system in a temporary folder. Its workers are suspended while a round is
measured, because they would take CPU time from the gateway and not from the bare endpoint; between
the rounds they process the accepted jobs. The endpoints alternate, so that a disturbance affects
all of them.
"""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil

from infra.acceptance.client import Connections, in_flight
from infra.embedded.settings import PROJECT
from tests.bench.arguments import plain_parser
from tests.bench.throwaway import throwaway_system
from tests.e2e.system import System
from tests.support.servers import free_port, until

ROUNDS = 3
#: Requests per round, by number of clients; fewer than the 10,000 waiting jobs a user may have.
REQUESTS = {1: 200, 16: 1_000, 64: 2_000}
FORM = {
    "model": "text",
    "designation": "Piscine gonflable ronde pour enfants",
    "description": "Diamètre 150 cm, hauteur 40 cm, avec fond gonflable et rustines",
}
#: Processes that requests need; the others are suspended during a round.
REQUIRED = ("gateway", "redis", "mlflow", "supervisord")

BARE = "one row, bare"

Headers = dict[str, str]


def main() -> None:
    """Measure and print a table."""
    plain_parser(__doc__).parse_args()
    with (
        throwaway_system() as system,
        bare_endpoint(system.home.parent / "bare.db") as address,
        system.client() as admin,
    ):
        key = admin.post("/v1/api-keys", json={"name": "bench", "scopes": ["jobs:write"]})
        key.raise_for_status()
        signed_in = {"Authorization": admin.headers["Authorization"]}
        endpoints = {
            BARE: (address, {}),
            "job, signed in": (system.address, signed_in),
            "job, API key": (system.address, {"X-API-Key": key.json()["key"]}),
        }
        print_table(measure(system, admin, endpoints))


def measure(
    system: System, admin: httpx.Client, endpoints: dict[str, tuple[str, Headers]]
) -> dict[tuple[str, int], list[tuple[float, float]]]:
    """Return requests per second and p95 in ms of each round, by endpoint and number of clients."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for clients, count in REQUESTS.items():
            for name, (address, headers) in endpoints.items():
                with suspended_workers(system):
                    figures = asyncio.run(load(address, headers, clients, count))
                found.setdefault((name, clients), []).append(figures)
                until(lambda: not waiting(admin), 300, "all accepted jobs are done")
    return found


async def load(address: str, headers: Headers, clients: int, count: int) -> tuple[float, float]:
    """Send the requests of one round; return requests per second and p95 in ms."""
    http = Connections(address)

    async def send(_number: int) -> float:
        started = time.perf_counter()
        answer = await http.request("POST", "/v1/jobs", data=FORM, headers=headers)
        if answer.status_code != 202:
            raise SystemExit(f"Expected status 202. Received: {answer.status_code} {answer.text}")
        return time.perf_counter() - started

    try:
        await in_flight(clients, range(clients), send)
        started = time.perf_counter()
        times = await in_flight(clients, range(count), send)
        return count / (time.perf_counter() - started), float(np.quantile(times, 0.95)) * 1000
    finally:
        await http.aclose()


def print_table(found: dict[tuple[str, int], list[tuple[float, float]]]) -> None:
    """Print the medians of the rounds."""
    print(f"POST /v1/jobs, median of {ROUNDS} rounds; the client shares the cores")
    print(
        f"{'':18}" + "".join(f"{f'{n} clients: /s':>18}{'p95 ms':>8}{'ratio':>7}" for n in REQUESTS)
    )
    for name in dict.fromkeys(name for name, _ in found):
        cells = []
        for clients in REQUESTS:
            speed, p95_ms = np.median(found[name, clients], axis=0)
            ratio = speed / np.median(found[BARE, clients], axis=0)[0]
            cells.append(f"{speed:18.0f}{p95_ms:8.1f}{ratio:7.2f}")
        print(f"{name:18}" + "".join(cells))


def waiting(admin: httpx.Client) -> int:
    """Return the number of unfinished jobs."""
    answer = admin.get("/v1/queues")
    answer.raise_for_status()
    return int(answer.json()["jobs_queued"])


@contextmanager
def suspended_workers(system: System) -> Iterator[None]:
    """Suspend the workers and everything else that requests do not need."""
    idle = [process for name, process in system.processes().items() if name not in REQUIRED]
    _suspend(idle)
    try:
        # A process suspended within a transaction would block all other writers.
        while not _is_free(system.home / "rayon.db"):
            _resume(idle)
            time.sleep(0.1)
            _suspend(idle)
        yield
    finally:
        _resume(idle)


def _suspend(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        process.suspend()


def _resume(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        process.resume()


def _is_free(database: Path) -> bool:
    """Return True if a SQLite database can be written to."""
    with closing(sqlite3.connect(database, timeout=1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


@contextmanager
def bare_endpoint(database: Path) -> Iterator[str]:
    """Serve the bare endpoint; yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.rivals.one_row", str(port), str(database)]
    server = subprocess.Popen(command, cwd=PROJECT)
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: responds(f"{address}/docs"), 60, "the bare endpoint responds")
        yield address
    finally:
        server.terminate()
        server.wait()


def responds(url: str) -> bool:
    """Return True if a server responds with status 200."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
