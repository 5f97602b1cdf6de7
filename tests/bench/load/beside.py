"""Response times and rates of catalogs beside a training on the same machine.

    make beside
    make beside BEFORE=folder       # beside the checkout of another commit

Starts a throw-away system, stores the dataset of a made-up shop, and requests a training on it.
Each round measures twice: while the processes of the training are suspended, and while they run, so
that another load on the machine disturbs both alike. The figures are medians of the rounds. On a
busy machine look at the last one: the share of the training in the processor time that it and the
catalog workers got while catalogs waited.
"""

import argparse
import asyncio
import io
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from infra.acceptance.client import Client, Product
from infra.acceptance.smoke import drawn
from infra.embedded.settings import PROJECT
from tests.bench.arguments import plain_parser
from tests.bench.catalog import final_catalog
from tests.bench.commands import run_command
from tests.bench.load.timing import percentiles
from tests.e2e.system import System
from tests.support.made_up_shop import Shop, write_shop

#: Products of the dataset, all with an image.
SHOP = Shop(rows=900)
#: Time for which single jobs are sent, and rows of the catalogs.
JOBS_SECONDS = 12.0
TEXTS, IMAGES = 2_000, 40
#: Longest wait for the dataset, and for the training to reach its models.
PATIENCE_SECONDS = 300.0
#: Steps before the training computes.
EARLY = (None, "champion")

#: Programs that classify catalogs.
WORKERS = ("text-catalog", "image-catalog", "fusion-catalog")
SHARE = "training's share, %"

Figures = dict[str, float]


def main() -> int:
    """Measure one or two checkouts, print a table and return the exit code."""
    parser = plain_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores; a training on {SHOP.rows} products with images, or none")
    print(f"{'':8}{'':26}{'alone':>10}{'beside':>10}{'ratio':>8}")
    for name, checkout in _checkouts(args):
        rounds = _measure(checkout, args.rounds)
        for what in ("text job, p50 ms", "text job, p95 ms", "texts/s", "images/s", SHARE):
            alone, beside = (
                median(one[what] for one in side) for side in zip(*rounds, strict=True)
            )
            ratio = f"{beside / alone:>8.2f}" if alone else ""
            print(f"{name:8}{what:26}{alone:>10.1f}{beside:>10.1f}{ratio}", flush=True)
    return 0


def _checkouts(args: argparse.Namespace) -> Iterable[tuple[str, Path]]:
    return [*([("before", args.before)] if args.before else []), ("now", PROJECT)]


def _measure(checkout: Path, rounds: int) -> Sequence[tuple[Figures, Figures]]:
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), checkout)
        try:
            system.start()
            os.environ["RAYON_ADMIN_PASSWORD"] = system.password
            return asyncio.run(_rounds(system, Path(folder), rounds))
        finally:
            system.stop()


async def _rounds(system: System, folder: Path, rounds: int) -> Sequence[tuple[Figures, Figures]]:
    found = []
    async with Client(system.address) as client:
        await _figures(client, system)
        run = await _training(client, folder / "shop")
        for _ in range(rounds):
            with _suspended(system):
                alone = await _figures(client, system)
            beside = await _figures(client, system)
            run = await client.get(f"/v1/training-runs/{run['id']}")
            if run["status"] != "running":
                raise SystemExit(f"Expected a running training. Received: {run}")
            print(f"# {run['progress']} {alone} {beside}", file=sys.stderr, flush=True)
            found.append((alone, beside))
    return found


async def _training(client: Client, folder: Path) -> dict[str, Any]:
    """Store the dataset, request a training, and wait until it computes."""
    write_shop(folder, SHOP)
    files = {
        "products": ("products.csv", (folder / "X_train_update.csv").read_bytes()),
        "labels": ("labels.csv", (folder / "Y_train_CVw08PX.csv").read_bytes()),
        "images": ("images.zip", _archive((folder / "images").rglob("*.jpg"))),
    }
    await client.send("/v1/datasets", files, name="shop")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await client.get("/v1/datasets/shop"))["versions"][0]["status"] != "ready":
            await asyncio.sleep(1)
        run = await client.post("/v1/training-runs", {"reason": "measured", "dataset": "shop"})
        while (run["progress"] or {}).get("step") in EARLY:
            await asyncio.sleep(1)
            run = await client.get(f"/v1/training-runs/{run['id']}")
    return run


@contextmanager
def _suspended(system: System) -> Iterator[None]:
    trainer = system.processes()["trainer"]
    processes = trainer.children(recursive=True)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


async def _figures(client: Client, system: System) -> Figures:
    jobs = await _jobs(client)
    before = _processor_seconds(system)
    texts = _table(f"Piscine gonflable ronde {os.urandom(4).hex()}," for _ in range(TEXTS))
    names = [f"{number}.jpg" for number in range(IMAGES)]
    images = _table(f"Lampe de bureau {os.urandom(4).hex()},{name}" for name in names)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for name in names:
            packed.writestr(name, drawn())
    files = {"products": ("p.csv", images), "images": ("p.zip", archive.getvalue())}
    figures = {
        "text job, p50 ms": jobs["p50_ms"],
        "text job, p95 ms": jobs["p95_ms"],
        "texts/s": await _rate(client, TEXTS, {"products": ("p.csv", texts)}),
        "images/s": await _rate(client, IMAGES, files),
    }
    training, workers = (
        now - then for now, then in zip(_processor_seconds(system), before, strict=True)
    )
    return figures | {SHARE: 100 * training / (training + workers)}


def _processor_seconds(system: System) -> tuple[float, float]:
    """Return the processor time of the training and of the catalog workers so far."""
    found = system.processes()
    training = found["trainer"].children(recursive=True)
    roots = [found[name] for name in WORKERS]
    workers = [*roots, *(one for root in roots for one in root.children(recursive=True))]
    return _seconds(training), _seconds(workers)


def _seconds(processes: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


async def _jobs(client: Client) -> dict[str, float]:
    seconds = []
    until = time.perf_counter() + JOBS_SECONDS
    while time.perf_counter() < until:
        product = Product("text", f"Piscine gonflable ronde {os.urandom(4).hex()}")
        started = time.perf_counter()
        await client.classify(product)
        seconds.append(time.perf_counter() - started)
    return percentiles(seconds)


async def _rate(client: Client, rows: int, files: dict[str, tuple[str, bytes]]) -> float:
    started = time.perf_counter()
    catalog = await client.upload(files, os.urandom(8).hex())
    catalog = await final_catalog(client, catalog["id"])
    if catalog["counts"]["done"] != rows:
        raise SystemExit(f"Expected {rows} answers. Received: {catalog['counts']}")
    return rows / (time.perf_counter() - started)


def _table(rows: Iterable[str]) -> bytes:
    return "\n".join(["designation,image", *rows]).encode()


def _archive(paths: Iterable[Path]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for path in paths:
            packed.write(path, path.name)
    return archive.getvalue()


if __name__ == "__main__":
    run_command(main)
