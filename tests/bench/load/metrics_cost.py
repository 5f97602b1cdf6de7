"""Cost of metrics: requests per second of a gateway with metrics, beside one without.

    make metricscost

Starts a system of its own in a temporary folder, and two more gateways on its database and queue:
one as it is, asked for its metrics each second, which is fifteen times what Prometheus does; and
one whose metrics do nothing. They take turns, the order changes with each round, and the workers
rest while a round is measured. The processor time of a request is told too: others on the same
machine hardly change it.
"""

import argparse
import asyncio
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
from prometheus_client import Counter, Gauge, Histogram

from infra.acceptance.client import Connections, in_flight
from infra.embedded.settings import PROJECT
from shared import metrics
from tests.bench.load.admission import FORM, Headers, resting, waiting
from tests.e2e.system import System
from tests.support.servers import free_port, until

CLIENTS = 16
#: Requests before the clock runs.
WARM = 2 * CLIENTS
SCRAPE_SECONDS = 1.0
WITH, WITHOUT = "with metrics", "without"


@dataclass(frozen=True)
class Request:
    """Requests that are repeated."""

    name: str
    method: str
    path: str
    form: dict[str, str] | None = None


@dataclass(frozen=True)
class Gateway:
    """Where it answers, and its process."""

    address: str
    process: psutil.Process

    @property
    def processor_seconds(self) -> float:
        """CPU seconds used since the start."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class Round:
    """Measured figures."""

    requests_per_second: float
    processor_ms: float


class Nothing:
    """A metric that does nothing, whatever it is asked for."""

    def labels(self, *_values: object) -> "Nothing":
        """Itself."""
        return self

    def inc(self, _amount: float = 1) -> None:
        """Nothing."""

    def set(self, _value: float) -> None:
        """Nothing."""

    def observe(self, _value: float) -> None:
        """Nothing."""

    def remove(self, *_values: object) -> None:
        """Nothing."""

    def collect(self) -> list[object]:
        """Nothing."""
        return []


def serve() -> None:
    """Be a gateway whose metrics do nothing."""
    for name, metric in list(vars(metrics).items()):
        if isinstance(metric, Counter | Gauge | Histogram):
            setattr(metrics, name, Nothing())
    runpy.run_module("gateway.main", run_name="__main__", alter_sys=True)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=1_000, help="of each kind in a round")
    asked = parser.parse_args()
    if asked.serve:
        serve()
        return
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder))
        try:
            system.start()
            with (
                gateway(system, Path(folder), is_measured=True) as measured,
                gateway(system, Path(folder), is_measured=False) as bare,
                system.client() as admin,
            ):
                ways = {WITH: measured, WITHOUT: bare}
                show(measure(system, admin, ways, asked.rounds, asked.requests), asked.rounds)
        finally:
            system.stop()


def measure(
    system: System, admin: httpx.Client, ways: dict[str, Gateway], rounds: int, count: int
) -> dict[tuple[str, str], list[Round]]:
    """Measure every round, by kind of request and by way."""
    found: dict[tuple[str, str], list[Round]] = {}
    headers = {"Authorization": admin.headers["Authorization"]}
    kinds = (
        Request("GET /livez", "GET", "/livez"),
        Request("GET /v1/jobs/{id}", "GET", f"/v1/jobs/{_a_job(admin)}"),
        Request("POST /v1/jobs", "POST", "/v1/jobs", FORM),
    )
    for number in range(rounds):
        # Whoever is second meets warm caches.
        turns = list(ways.items())[:: -1 if number % 2 else 1]
        for kind in kinds:
            for way, server in turns:
                with resting(system):
                    before = server.processor_seconds
                    speed = asyncio.run(_load(server.address, headers, kind, count))
                    used = server.processor_seconds - before
                one = Round(speed, used * 1000 / (count + WARM))
                found.setdefault((kind.name, way), []).append(one)
                until(lambda: not waiting(admin), 600, "what was taken is worked off")
    return found


async def _load(address: str, headers: Headers, kind: Request, count: int) -> float:
    http = Connections(address)

    async def one(_number: int) -> None:
        answer = await http.request(kind.method, kind.path, data=kind.form, headers=headers)
        if answer.status_code not in (200, 202):
            raise SystemExit(f"Expected 200 or 202. Received: {answer.status_code} {answer.text}")

    try:
        await in_flight(CLIENTS, range(WARM), one)
        started = time.perf_counter()
        await in_flight(CLIENTS, range(count), one)
        return count / (time.perf_counter() - started)
    finally:
        await http.aclose()


def show(found: dict[tuple[str, str], list[Round]], rounds: int) -> None:
    """Print medians of the rounds, and the ratio within each."""
    print(f"{CLIENTS} clients on the same cores, median of {rounds} rounds")
    for title, figure in (
        ("requests/s", "requests_per_second"),
        ("processor ms a request", "processor_ms"),
    ):
        print(f"{title:24}{WITH:>14}{WITHOUT:>10}{'ratio':>8}{'half of the rounds':>20}")
        for kind in dict.fromkeys(kind for kind, _ in found):
            kept = np.array([getattr(one, figure) for one in found[kind, WITH]])
            bare = np.array([getattr(one, figure) for one in found[kind, WITHOUT]])
            low, ratio, high = np.quantile(kept / bare, (0.25, 0.5, 0.75))
            middle = f"{np.median(kept):14.2f}{np.median(bare):10.2f}{ratio:8.3f}"
            print(f"{kind:24}{middle}{f'{low:.2f} to {high:.2f}':>20}")


def _a_job(admin: httpx.Client) -> str:
    sent = admin.post("/v1/jobs", data=FORM)
    sent.raise_for_status()
    return str(sent.json()["id"])


@contextmanager
def gateway(system: System, folder: Path, *, is_measured: bool) -> Iterator[Gateway]:
    """One more gateway of a system."""
    port, metrics_port = free_port(), free_port() if is_measured else 0
    own = psutil.Process(system.processes()["gateway"].pid).environ()
    environment = own | {
        "RAYON_GATEWAY_PORT": str(port),
        "RAYON_METRICS_PORT": str(metrics_port),
    }
    command = [sys.executable, "-m", "gateway.main"]
    if not is_measured:
        command = [sys.executable, "-m", "tests.bench.load.metrics_cost", "--serve"]
    with (folder / f"gateway-{port}.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)
    stop = threading.Event()
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(f"{address}/readyz"), 120, "the gateway answers")
        if is_measured:
            url = f"http://127.0.0.1:{metrics_port}/metrics"
            threading.Thread(target=_scrape, args=(url, stop), daemon=True).start()
        yield Gateway(address, psutil.Process(server.pid))
    finally:
        stop.set()
        server.terminate()
        server.wait()


def _scrape(url: str, stop: threading.Event) -> None:
    while not stop.wait(SCRAPE_SECONDS):
        httpx.get(url).raise_for_status()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
