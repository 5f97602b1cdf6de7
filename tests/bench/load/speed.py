"""Response times, throughput beside the bare models, and memory of the running system.

    make bench DATA=folder

The system must be idle and on this machine: the bare models are measured in the same run, on the
same cores, and the ratio is the figure to compare between machines.

The images are made unique for each run, so that no worker has seen them; then they are sent again.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd

from infra.acceptance.client import Client, in_flight, save
from infra.acceptance.products import dataset, products_of, rows_of
from infra.embedded.strays import instance_processes
from tests.bench.arguments import embedded_parser
from tests.bench.commands import run_command
from tests.bench.load.timing import crowd, percentiles
from tests.bench.starter import STARTER
from trainer.release.loaded import LoadedRelease

CLIENTS = 64
#: Number of single texts, by number of clients.
CROWDS = {1: 150, 16: 1_000, 64: 1_500, 256: 1_500}
LATENCY_JOBS = {"text": 100, "image": 40}
THROUGHPUT_JOBS = {"text": 1500, "image": 150}


def main() -> int:
    """Measure and return the exit code."""
    args = embedded_parser(__doc__).parse_args()
    data, home = dataset(args.data), args.home.resolve()
    rows = {model: rows_of(data, model) for model in LATENCY_JOBS}
    figures = asyncio.run(_measure(args.url, home, rows))
    figures["memory_megabytes"] = _memory(home)
    _print(figures)
    save("speed", figures)
    return 0


async def _measure(url: str, home: Path, rows: dict[str, pd.DataFrame]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    async with Client(url) as client:
        # The first jobs of each kind open connections and fill caches.
        release = (await seconds_each(client, rows["text"].head(3), "text"))[1]
        await seconds_each(client, rows["image"].head(3), "image")
        bare = LoadedRelease.load(cached_release(home, release))
        latency_salt, throughput_salt = os.urandom(16), os.urandom(16)
        for model, count in LATENCY_JOBS.items():
            seconds, _ = await seconds_each(client, rows[model].head(count), model, latency_salt)
            figures[f"{model}_latency"] = percentiles(seconds)
        for model, count in THROUGHPUT_JOBS.items():
            chosen = rows[model].head(count)
            bare_rate = len(chosen) / bare_seconds(bare, chosen, model)
            rate = await rate_of(client, chosen, model, throughput_salt)
            figures[f"{model}_throughput"] = {
                "jobs": len(chosen),
                "per_second": rate,
                "bare_model_per_second": bare_rate,
                "ratio": rate / bare_rate,
            }
        figures["text_by_clients"] = {
            clients: await crowd(
                clients, products_of(rows["text"].head(count), "text"), client.classify
            )
            for clients, count in CROWDS.items()
        }
        chosen = rows["image"].head(LATENCY_JOBS["image"])
        seconds, _ = await seconds_each(client, chosen, "image", latency_salt)
        chosen = rows["image"].head(THROUGHPUT_JOBS["image"])
        figures["image_seen_before"] = percentiles(seconds) | {
            "per_second": await rate_of(client, chosen, "image", throughput_salt)
        }
    return figures


async def rate_of(client: Client, rows: pd.DataFrame, model: str, salt: bytes) -> float:
    """Return the jobs per second of `CLIENTS` clients."""
    started = time.perf_counter()
    await in_flight(CLIENTS, products_of(rows, model, salt), client.classify)
    return len(rows) / (time.perf_counter() - started)


async def seconds_each(
    client: Client, rows: pd.DataFrame, model: str, salt: bytes = b""
) -> tuple[list[float], str]:
    """Send jobs one after the other; return the seconds of each, and the release used."""
    seconds, release = [], ""
    for product in products_of(rows, model, salt):
        started = time.perf_counter()
        job = await client.classify(product)
        seconds.append(time.perf_counter() - started)
        release = job["release"]
    return seconds, release


def bare_seconds(release: LoadedRelease, rows: pd.DataFrame, model: str) -> float:
    score = release.score_texts if model == "text" else release.score_images
    score(rows.head(4))
    started = time.perf_counter()
    score(rows)
    return time.perf_counter() - started


def cached_release(home: Path, release: str) -> Path:
    """Return the cached folder of a release, or the starter release."""
    cached = home / "releases" / release
    return cached if cached.exists() else STARTER


def _memory(home: Path) -> dict[str, dict[str, float]]:
    """Return the RSS of each process and its PSS, in which shared pages are divided."""
    found = {}
    for name, process in sorted(instance_processes(home).items()):
        memory = process.memory_full_info()
        found[name] = {"rss": memory.rss / 2**20, "pss": memory.pss / 2**20}
    return found


def _print(figures: dict[str, Any]) -> None:
    for model in LATENCY_JOBS:
        found = figures[f"{model}_latency"]
        p50, p95 = found["p50_ms"], found["p95_ms"]
        print(f"{model:<6} 1 client, idle  p50 {p50:6.0f} ms   p95 {p95:6.0f} ms")
    for model in THROUGHPUT_JOBS:
        found = figures[f"{model}_throughput"]
        print(
            f"{model:<6} {CLIENTS} clients      {found['per_second']:6.1f} /s   bare model "
            f"{found['bare_model_per_second']:6.1f} /s   ratio {found['ratio']:.2f}"
        )
    for clients, found in figures["text_by_clients"].items():
        print(
            f"text   {clients:>3} clients      {found['per_second']:6.1f} /s   "
            f"p50 {found['p50_ms']:6.0f} ms   p95 {found['p95_ms']:6.0f} ms"
        )
    repeated = figures["image_seen_before"]
    print(
        f"image  sent again      p50 {repeated['p50_ms']:6.0f} ms   "
        f"p95 {repeated['p95_ms']:6.0f} ms   {CLIENTS} clients {repeated['per_second']:6.1f} /s"
    )
    memory = figures["memory_megabytes"]
    print(f"\n{'process':<20}{'RSS MB':>8}{'PSS MB':>8}")
    for name, found in memory.items():
        print(f"{name:<20}{found['rss']:>8.0f}{found['pss']:>8.0f}")
    total = sum(found["pss"] for found in memory.values())
    print(f"{'total':<20}{'':>8}{total:>8.0f}")


if __name__ == "__main__":
    run_command(main)
