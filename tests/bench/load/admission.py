"""Cost of `POST /v1/jobs` with everything on, beside a bare endpoint that writes one row.

    make admission

Starts a system of its own in a temporary folder. Its workers rest while a round is measured, for
they would share the cores with the gateway and not with the bare endpoint; between the rounds they
work off what was taken. The ways take turns, so that a noisy moment meets all of them.
"""

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil

from infra.acceptance.client import Connections, in_flight
from infra.embedded.settings import PROJECT
from tests.e2e.system import System
from tests.support.servers import free_port, until

ROUNDS = 3
#: Requests of a round by clients; what is taken waits, and a user may have 10,000 waiting.
REQUESTS = {1: 200, 16: 1_000, 64: 2_000}
FORM = {
    "model": "text",
    "designation": "Piscine gonflable ronde pour enfants",
    "description": "Diamètre 150 cm, hauteur 40 cm, avec fond gonflable et rustines",
}
#: These answer requests or keep what they need; the others rest.
AWAKE = ("gateway", "redis", "mlflow", "supervisord")

Headers = dict[str, str]


def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder))
        system.start()
        try:
            with bare(Path(folder) / "bare.db") as address, system.client() as admin:
                key = admin.post("/v1/api-keys", json={"name": "bench", "scopes": ["jobs:write"]})
                key.raise_for_status()
                ways = {
                    "one row, bare": (address, {}),
                    "job, signed in": (
                        system.address,
                        {"Authorization": admin.headers["Authorization"]},
                    ),
                    "job, API key": (system.address, {"X-API-Key": key.json()["key"]}),
                }
                show(measure(system, admin, ways))
        finally:
            system.stop()


def measure(
    system: System, admin: httpx.Client, ways: dict[str, tuple[str, Headers]]
) -> dict[tuple[str, int], list[tuple[float, float]]]:
    """Requests a second and p95 in ms of each round, by way and number of clients."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for clients, count in REQUESTS.items():
            for name, (address, headers) in ways.items():
                with resting(system):
                    figures = asyncio.run(load(address, headers, clients, count))
                found.setdefault((name, clients), []).append(figures)
                until(lambda: not waiting(admin), 300, "what was taken is worked off")
    return found


async def load(address: str, headers: Headers, clients: int, count: int) -> tuple[float, float]:
    """Requests a second, and p95 in ms."""
    http = Connections(address)

    async def one(_number: int) -> float:
        started = time.perf_counter()
        answer = await http.request("POST", "/v1/jobs", data=FORM, headers=headers)
        if answer.status_code != 202:
            raise SystemExit(f"Expected 202. Received: {answer.status_code} {answer.text}")
        return time.perf_counter() - started

    try:
        await in_flight(clients, range(clients), one)
        started = time.perf_counter()
        times = await in_flight(clients, range(count), one)
        return count / (time.perf_counter() - started), float(np.quantile(times, 0.95)) * 1000
    finally:
        await http.aclose()


def show(found: dict[tuple[str, int], list[tuple[float, float]]]) -> None:
    """Print medians of the rounds."""
    print(f"POST /v1/jobs, median of {ROUNDS} rounds; the client is on the same cores")
    print(
        f"{'':18}" + "".join(f"{f'{n} clients: /s':>18}{'p95 ms':>8}{'ratio':>7}" for n in REQUESTS)
    )
    bare_name = next(iter(found))[0]
    for name in dict.fromkeys(name for name, _ in found):
        cells = []
        for clients in REQUESTS:
            speed, slow = np.median(found[name, clients], axis=0)
            ratio = speed / np.median(found[bare_name, clients], axis=0)[0]
            cells.append(f"{speed:18.0f}{slow:8.1f}{ratio:7.2f}")
        print(f"{name:18}" + "".join(cells))


def waiting(admin: httpx.Client) -> int:
    """Jobs that are not done."""
    answer = admin.get("/v1/queues")
    answer.raise_for_status()
    return int(answer.json()["jobs_queued"])


@contextmanager
def resting(system: System) -> Iterator[None]:
    """Workers and everything else that takes no requests stand still."""
    idle = [one for name, one in system.processes().items() if name not in AWAKE]
    _stop(idle)
    try:
        # Who stands still within a transaction lets nobody else write.
        while not _is_free(system.home / "rayon.db"):
            _go_on(idle)
            time.sleep(0.1)
            _stop(idle)
        yield
    finally:
        _go_on(idle)


def _stop(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        process.suspend()


def _go_on(processes: Iterable[psutil.Process]) -> None:
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
def bare(database: Path) -> Iterator[str]:
    """Serve the bare endpoint; returns its address."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.rivals.one_row", str(port), str(database)]
    server = subprocess.Popen(command, cwd=PROJECT)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/docs").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers, 60, "the bare endpoint answers")
        yield address
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
