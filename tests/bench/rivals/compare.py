"""Our catalogs and single jobs beside other ways to serve the same model, in one run.

    make compare DATA=folder

The system must be idle and on this machine. Each other way is started, warmed, measured on the same
texts and stopped, one at a time; one that is not installed is named and passed over.
"""

import argparse
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
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psutil

from infra.acceptance.client import Client, Connections, Product, in_flight, save
from infra.acceptance.products import dataset, rows_of
from infra.embedded.redis_server import redis_binary
from infra.embedded.settings import PROJECT, EmbeddedSettings
from tests.bench.load.catalogs import catalog_of, table_of
from tests.bench.load.speed import percentiles
from tests.bench.rivals.celery_way import connected
from tests.support.servers import free_port

SINGLES, CATALOG = 1_500, 5_000
CLIENTS = (1, 64)
START_SECONDS = 120.0
#: It needs older libraries than ours, so it has an environment of its own.
BENTOML = PROJECT / ".venv-bentoml" / "bin" / "python"

Ask = Callable[[Product], Awaitable[object]]


@dataclass(frozen=True)
class Way:
    """Another way: how its program is started on a port, and whether it is installed.

    Attributes:
        takes_lists: Whether it wants `{"products": [product]}`.
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
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=EmbeddedSettings().home)
    given = parser.parse_args()
    rows = rows_of(dataset(given.data), "text")
    figures = asyncio.run(_measure(given.url, given.home.resolve(), rows))
    save("compare", figures)
    return 0


async def _measure(url: str, home: Path, rows: pd.DataFrame) -> dict[str, Any]:
    ours = await _ours(url, home, rows)
    figures: dict[str, Any] = {"Rayon": ours}
    _print("Rayon", ours, ours)
    others: list[tuple[str, Callable[[], Awaitable[dict[str, Any]]]]] = [
        ("Celery task per product", lambda: asyncio.to_thread(_celery, rows))
    ]
    others += [(way.name, lambda way=way: _served(way, rows)) for way in WAYS]  # type: ignore[misc]
    for name, measure in others:
        try:
            figures[name] = await measure()
            _print(name, figures[name], ours)
        except Exception as error:
            figures[name] = {"failed": f"{type(error).__name__}: {error}"}
            print(f"{name:<24} {figures[name]['failed']}", flush=True)
    return figures


async def _ours(url: str, home: Path, rows: pd.DataFrame) -> dict[str, Any]:
    async with Client(url) as client:
        await catalog_of(client, home, table_of(rows, 200), None)
        found = await _singles(rows, client.classify)
        whole = await catalog_of(client, home, table_of(rows, CATALOG), None)
    return {**found, "catalog_rows_per_second": CATALOG / whole["seconds_with_upload"]}


async def _served(way: Way, rows: pd.DataFrame) -> dict[str, Any]:
    if not way.is_installed():
        return {"failed": "not installed: make compare OTHERS=1"}
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with _running(way.command(port)) as process:
        connections = Connections(address, idle_seconds=1.0)
        try:

            async def ask(product: Product) -> None:
                one = {"designation": product.designation, "description": product.description}
                body = {"products": [one]} if way.takes_lists else one
                (await connections.request("POST", "/predict", json=body)).raise_for_status()

            await _answers(process, ask)
            found = await _singles(rows, ask)
            started = time.perf_counter()
            await in_flight(max(CLIENTS), _products(rows, CATALOG), ask)
            rate = CATALOG / (time.perf_counter() - started)
            memory = _megabytes(process)
        finally:
            await connections.aclose()
    return {**found, "catalog_rows_per_second": rate, "pss_megabytes": memory}


def _celery(rows: pd.DataFrame) -> dict[str, Any]:
    """Tasks at once for the singles' rate as well: each client of a queue would wait for one."""
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


async def _singles(rows: pd.DataFrame, ask: Ask) -> dict[str, Any]:
    """Single products, by how many clients send them."""
    found = {}
    for clients in CLIENTS:
        seconds: list[float] = []

        async def timed(product: Product, seconds: list[float] = seconds) -> None:
            started = time.perf_counter()
            await ask(product)
            seconds.append(time.perf_counter() - started)

        products = _products(rows, SINGLES if clients > 1 else 100)
        started = time.perf_counter()
        await in_flight(clients, products, timed)
        rate = len(products) / (time.perf_counter() - started)
        found[f"clients_{clients}"] = percentiles(seconds) | {"per_second": rate}
    return found


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
            for one in family:
                one.terminate()
            for one in psutil.wait_procs(family, timeout=15)[1]:
                one.kill()
            process.wait()


def _children(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def _megabytes(process: "subprocess.Popen[bytes]") -> float:
    family = [psutil.Process(process.pid), *_children(process)]
    return sum(one.memory_full_info().pss for one in family) / 2**20


async def _answers(process: "subprocess.Popen[bytes]", ask: Ask) -> None:
    deadline = time.perf_counter() + START_SECONDS
    while True:
        try:
            await ask(Product("text", "warm", ""))
        except httpx.HTTPError:
            if process.poll() is not None or time.perf_counter() > deadline:
                raise
            await asyncio.sleep(0.5)
        else:
            return


def _print(name: str, found: dict[str, Any], ours: dict[str, Any]) -> None:
    if "failed" in found:
        print(f"{name:<24} {found['failed']}", flush=True)
        return
    one, many = found["clients_1"], found["clients_64"]
    catalog = found["catalog_rows_per_second"]
    print(
        f"{name:<24} 1 client p50 {one['p50_ms']:5.0f} ms   64 clients {many['per_second']:7.1f} /s"
        f" (ours x{ours['clients_64']['per_second'] / many['per_second']:.2f})   "
        f"catalog {catalog:7.1f} rows/s (ours x{ours['catalog_rows_per_second'] / catalog:.2f})",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
