"""Catalogs and single jobs of Rayon compared with other ways to serve the same model.

    make compare DATA=folder
    make compare DATA=folder OTHERS=1 ROUNDS=3      # medians of three rounds

The system must be idle and on this machine. The other ways are started, warmed up, measured on the
same texts and stopped one at a time; those that are not installed are reported and skipped.
"""

import asyncio
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pandas as pd
import psutil

from infra.acceptance.client import Client, Connections, Product, in_flight, save
from infra.acceptance.products import dataset, rows_of
from infra.embedded.redis_server import redis_binary
from infra.embedded.settings import PROJECT
from tests.bench.arguments import embedded_parser
from tests.bench.commands import run_command
from tests.bench.load.catalogs import catalog_of, table_of
from tests.bench.load.timing import crowd, percentiles
from tests.bench.rivals.celery_way import connected
from tests.support.servers import free_port

CATALOG = 5_000
#: Number of single products, by number of clients.
SINGLES = {1: 100, 64: 1_500}
START_SECONDS = 120.0
#: BentoML needs older libraries than Rayon and has its own environment.
BENTOML = PROJECT / ".venv-bentoml" / "bin" / "python"

Classify = Callable[[Product], Awaitable[object]]


@dataclass(frozen=True)
class Way:
    """Another way to serve the model.

    Attributes:
        command: Returns the command that serves on a port.
        is_installed: Returns True if the packages of the program are installed.
        takes_lists: The body of a request is `{"products": [product]}`.
    """

    name: str
    command: Callable[[int], Sequence[str]]
    is_installed: Callable[[], bool]
    takes_lists: bool = False


def _module(name: str) -> Callable[[int], Sequence[str]]:
    return lambda port: (sys.executable, "-m", f"tests.bench.rivals.{name}", str(port))


def _bentoml(port: int) -> Sequence[str]:
    service = "tests.bench.rivals.bentoml_way:Texts"
    return (str(BENTOML), "-m", "bentoml", "serve", service, "--port", str(port))


def _has(package: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(package) is not None


WAYS = (
    Way("FastAPI in the request", _module("fastapi_way"), _has("fastapi")),
    Way("LitServe", _module("litserve_way"), _has("litserve")),
    Way("BentoML", _bentoml, BENTOML.exists, takes_lists=True),
    Way("Ray Serve", _module("ray_way"), _has("ray")),
)


def main() -> int:
    """Measure and return the exit code."""
    parser = embedded_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="rounds (%(default)s)")
    args = parser.parse_args()
    rows = rows_of(dataset(args.data), "text")
    rounds = []
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds}", flush=True)
        rounds.append(asyncio.run(_measure(args.url, args.home.resolve(), rows)))
        save("compare", {"rounds": rounds})
    if args.rounds > 1:
        _print_medians(rounds)
    return 0


def _print_medians(rounds: Sequence[dict[str, Any]]) -> None:
    """Print the medians of the rounds in which a way did not fail, and their ratios.

    A ratio is the median of the ratios of each round.
    """
    print("medians of the rounds", flush=True)
    for name in rounds[0]:
        measured = [one for one in rounds if "failed" not in one[name]]
        if not measured:
            continue
        found, rayon = ([one[which] for one in measured] for which in (name, "Rayon"))
        p50_ms = median(one["clients_1"]["p50_ms"] for one in found)
        singles, catalogs = (
            (median(map(rate, found)), median(map(truediv, map(rate, rayon), map(rate, found))))
            for rate in (_singles_rate, _catalog_rate)
        )
        print(_line(name, p50_ms, singles, catalogs), flush=True)


def _singles_rate(found: dict[str, Any]) -> float:
    return float(found["clients_64"]["per_second"])


def _catalog_rate(found: dict[str, Any]) -> float:
    return float(found["catalog_rows_per_second"])


def _line(
    name: str, p50_ms: float, singles: tuple[float, float], catalogs: tuple[float, float]
) -> str:
    """Return a line of the table; a pair is a rate and the ratio of Rayon's to it."""
    return (
        f"{name:<24} 1 client p50 {p50_ms:5.1f} ms   64 clients {singles[0]:7.1f} /s"
        f" (Rayon x{singles[1]:.2f})   catalog {catalogs[0]:7.1f} rows/s (Rayon x{catalogs[1]:.2f})"
    )


async def _measure(url: str, home: Path, rows: pd.DataFrame) -> dict[str, Any]:
    rayon = await _rayon(url, home, rows)
    figures: dict[str, Any] = {"Rayon": rayon}
    _print("Rayon", rayon, rayon)
    others: list[tuple[str, Callable[[], Awaitable[dict[str, Any]]]]] = [
        ("Celery task per product", lambda: asyncio.to_thread(_celery, rows))
    ]
    others += [(way.name, lambda way=way: _served(way, rows)) for way in WAYS]  # type: ignore[misc]
    for name, measure in others:
        try:
            figures[name] = await measure()
            _print(name, figures[name], rayon)
        except Exception as error:
            figures[name] = {"failed": f"{type(error).__name__}: {error}"}
            print(f"{name:<24} {figures[name]['failed']}", flush=True)
    return figures


async def _rayon(url: str, home: Path, rows: pd.DataFrame) -> dict[str, Any]:
    async with Client(url) as client:
        await catalog_of(client, home, table_of(rows, 200), None)
        found = await _singles(rows, client.classify)
        catalog = await catalog_of(client, home, table_of(rows, CATALOG), None)
    return {**found, "catalog_rows_per_second": CATALOG / catalog["seconds_with_upload"]}


async def _served(way: Way, rows: pd.DataFrame) -> dict[str, Any]:
    if not way.is_installed():
        return {"failed": "not installed: make compare OTHERS=1"}
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with _running(way.command(port)) as process:
        connections = Connections(address, idle_seconds=1.0)
        try:

            async def classify(product: Product) -> None:
                item = {"designation": product.designation, "description": product.description}
                body = {"products": [item]} if way.takes_lists else item
                (await connections.request("POST", "/predict", json=body)).raise_for_status()

            await _wait_until_ready(process, classify)
            found = await _singles(rows, classify)
            started = time.perf_counter()
            await in_flight(max(SINGLES), _products(rows, CATALOG), classify)
            rate = CATALOG / (time.perf_counter() - started)
            memory = _megabytes(process)
        finally:
            await connections.aclose()
    return {**found, "catalog_rows_per_second": rate, "pss_megabytes": memory}


def _celery(rows: pd.DataFrame) -> dict[str, Any]:
    """Measure Celery tasks.

    The rate of 64 clients is that of all tasks sent at once, because each client would otherwise
    wait for the result of one task.
    """
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with tempfile.TemporaryDirectory() as folder:
        redis = (str(redis_binary()), "--port", str(port), "--dir", folder, "--save", "")
        worker = (sys.executable, "-m", "tests.bench.rivals.celery_way", url)
        with _running(redis), _running(worker) as process:
            app = connected(url)

            def send(product: Product) -> Any:
                return app.send_task("predict", (product.designation, product.description))

            send(Product("text", "warm", "")).get(timeout=START_SECONDS)
            seconds = []
            for product in _products(rows, 100):
                started = time.perf_counter()
                send(product).get(timeout=60, interval=0.005)
                seconds.append(time.perf_counter() - started)
            started = time.perf_counter()
            for task in [send(product) for product in _products(rows, CATALOG)]:
                task.get(timeout=600, interval=0.005)
            rate = CATALOG / (time.perf_counter() - started)
            memory = _megabytes(process)
    return {
        "clients_1": percentiles(seconds) | {"per_second": len(seconds) / sum(seconds)},
        "clients_64": {"per_second": rate},
        "catalog_rows_per_second": rate,
        "pss_megabytes": memory,
    }


async def _singles(rows: pd.DataFrame, classify: Classify) -> dict[str, Any]:
    """Measure single products, by the number of clients that send them."""
    return {
        f"clients_{clients}": await crowd(clients, _products(rows, count), classify)
        for clients, count in SINGLES.items()
    }


def _products(rows: pd.DataFrame, count: int) -> list[Product]:
    chosen = rows.iloc[[number % len(rows) for number in range(count)]]
    return [
        Product("text", f"{row.designation} {number}", str(row.description))
        for number, row in enumerate(chosen.itertuples())
    ]


@contextmanager
def _running(command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            family = [psutil.Process(process.pid), *_children(process)]
            for member in family:
                member.terminate()
            for survivor in psutil.wait_procs(family, timeout=15)[1]:
                survivor.kill()
            process.wait()


def _children(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def _megabytes(process: "subprocess.Popen[bytes]") -> float:
    family = [psutil.Process(process.pid), *_children(process)]
    return sum(member.memory_full_info().pss for member in family) / 2**20


async def _wait_until_ready(process: "subprocess.Popen[bytes]", classify: Classify) -> None:
    deadline = time.perf_counter() + START_SECONDS
    while True:
        try:
            await classify(Product("text", "warm", ""))
        except httpx.HTTPError:
            if process.poll() is not None or time.perf_counter() > deadline:
                raise
            await asyncio.sleep(0.5)
        else:
            return


def _print(name: str, found: dict[str, Any], rayon: dict[str, Any]) -> None:
    """Print the figures of one way, and the ratio of Rayon's figures to them."""
    if "failed" in found:
        print(f"{name:<24} {found['failed']}", flush=True)
        return
    singles, catalogs = (
        (rate(found), rate(rayon) / rate(found)) for rate in (_singles_rate, _catalog_rate)
    )
    print(_line(name, found["clients_1"]["p50_ms"], singles, catalogs), flush=True)


if __name__ == "__main__":
    run_command(main)
