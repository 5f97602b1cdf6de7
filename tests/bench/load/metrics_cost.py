"""Cost of metrics: requests per second and CPU time of a gateway with metrics and of one without.

    make metricscost

Starts a throw-away system in a temporary folder, and two more gateways on its database and queue:
one with metrics, scraped each second, which is fifteen times as often as Prometheus does; and one
whose metrics do nothing. They alternate, in a different order each round, and the workers are
suspended while a round is measured. The CPU time per request hardly depends on other programs of
the machine.
"""

import argparse
import asyncio
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import psutil
from prometheus_client import Counter, Gauge, Histogram

from infra.acceptance.client import Connections, in_flight
from infra.embedded.settings import PROJECT
from shared import metrics
from tests.bench.arguments import plain_parser
from tests.bench.load.admission import FORM, Headers, responds, suspended_workers, waiting
from tests.bench.throwaway import throwaway_system
from tests.e2e.system import System
from tests.support.servers import free_port, until

CLIENTS = 16
#: Requests before the measurement.
WARM = 2 * CLIENTS
SCRAPE_SECONDS = 1.0
WITH, WITHOUT = "with metrics", "without"


@dataclass(frozen=True)
class Request:
    """Kind of request that a round repeats."""

    name: str
    method: str
    path: str
    form: dict[str, str] | None = None


@dataclass(frozen=True)
class Gateway:
    """Address and process of a gateway."""

    address: str
    process: psutil.Process

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds used since the start."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class Round:
    """Figures of one round."""

    requests_per_second: float
    cpu_ms: float


class NullMetric:
    """Metric that does nothing."""

    def labels(self, *_values: object) -> "NullMetric":
        """Return the metric itself."""
        return self

    def inc(self, _amount: float = 1) -> None:
        """Do nothing."""

    def set(self, _value: float) -> None:
        """Do nothing."""

    def observe(self, _value: float) -> None:
        """Do nothing."""

    def remove(self, *_values: object) -> None:
        """Do nothing."""

    def collect(self) -> list[object]:
        """Return no samples."""
        return []


def serve() -> None:
    """Run a gateway whose metrics do nothing."""
    for name, metric in list(vars(metrics).items()):
        if isinstance(metric, Counter | Gauge | Histogram):
            setattr(metrics, name, NullMetric())
    runpy.run_module("gateway.main", run_name="__main__", alter_sys=True)


def main() -> None:
    """Measure and print a table."""
    parser = plain_parser(__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--rounds", type=int, default=9, help="number of rounds (default: %(default)s)"
    )
    parser.add_argument(
        "--requests",
        type=int,
        default=1_000,
        help="requests of each kind per round (default: %(default)s)",
    )
    args = parser.parse_args()
    if args.serve:
        serve()
        return
    with (
        throwaway_system() as system,
        gateway(system, has_metrics=True) as measured,
        gateway(system, has_metrics=False) as bare,
        system.client() as admin,
    ):
        gateways = {WITH: measured, WITHOUT: bare}
        found = measure(system, admin, gateways, args.rounds, args.requests)
        print_table(found, args.rounds)


def measure(
    system: System, admin: httpx.Client, gateways: dict[str, Gateway], rounds: int, count: int
) -> dict[tuple[str, str], list[Round]]:
    """Measure the rounds; return their figures by kind of request and gateway."""
    found: dict[tuple[str, str], list[Round]] = {}
    headers = {"Authorization": admin.headers["Authorization"]}
    kinds = (
        Request("GET /livez", "GET", "/livez"),
        Request("GET /v1/jobs/{id}", "GET", f"/v1/jobs/{_submit_job(admin)}"),
        Request("POST /v1/jobs", "POST", "/v1/jobs", FORM),
    )
    for number in range(rounds):
        # The order alternates, because the second gateway finds warm caches.
        turns = list(gateways.items())[:: -1 if number % 2 else 1]
        for kind in kinds:
            for name, server in turns:
                with suspended_workers(system):
                    before = server.cpu_seconds
                    speed = asyncio.run(_load(server.address, headers, kind, count))
                    used = server.cpu_seconds - before
                figures = Round(speed, used * 1000 / (count + WARM))
                found.setdefault((kind.name, name), []).append(figures)
                until(lambda: not waiting(admin), 600, "all accepted jobs are done")
    return found


async def _load(address: str, headers: Headers, kind: Request, count: int) -> float:
    http = Connections(address)

    async def send(_number: int) -> None:
        answer = await http.request(kind.method, kind.path, data=kind.form, headers=headers)
        if answer.status_code not in (200, 202):
            raise SystemExit(
                f"Expected status 200 or 202. Received: {answer.status_code} {answer.text}"
            )

    try:
        await in_flight(CLIENTS, range(WARM), send)
        started = time.perf_counter()
        await in_flight(CLIENTS, range(count), send)
        return count / (time.perf_counter() - started)
    finally:
        await http.aclose()


def print_table(found: dict[tuple[str, str], list[Round]], rounds: int) -> None:
    """Print the medians of the rounds and the quartiles of their ratios."""
    print(f"{CLIENTS} clients, which share the cores; median of {rounds} rounds")
    for title, figure in (
        ("requests/s", "requests_per_second"),
        ("CPU ms per request", "cpu_ms"),
    ):
        print(f"{title:24}{WITH:>14}{WITHOUT:>10}{'ratio':>8}{'quartiles':>20}")
        for kind in dict.fromkeys(kind for kind, _ in found):
            measured = np.array([getattr(each, figure) for each in found[kind, WITH]])
            bare = np.array([getattr(each, figure) for each in found[kind, WITHOUT]])
            low, ratio, high = np.quantile(measured / bare, (0.25, 0.5, 0.75))
            middle = f"{np.median(measured):14.2f}{np.median(bare):10.2f}{ratio:8.3f}"
            print(f"{kind:24}{middle}{f'{low:.2f} to {high:.2f}':>20}")


def _submit_job(admin: httpx.Client) -> str:
    sent = admin.post("/v1/jobs", data=FORM)
    sent.raise_for_status()
    return str(sent.json()["id"])


@contextmanager
def gateway(system: System, *, has_metrics: bool) -> Iterator[Gateway]:
    """Run one more gateway of a system."""
    port, metrics_port = free_port(), free_port() if has_metrics else 0
    environment = psutil.Process(system.processes()["gateway"].pid).environ()
    environment |= {
        "RAYON_GATEWAY_PORT": str(port),
        "RAYON_METRICS_PORT": str(metrics_port),
    }
    command = [sys.executable, "-m", "gateway.main"]
    if not has_metrics:
        command = [sys.executable, "-m", "tests.bench.load.metrics_cost", "--serve"]
    with (system.home.parent / f"gateway-{port}.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)
    stop = threading.Event()
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: responds(f"{address}/readyz"), 120, "the gateway is ready")
        if has_metrics:
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


if __name__ == "__main__":
    main()
