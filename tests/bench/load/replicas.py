"""Catalog rows per second with two replicas of the image worker, compared with one.

    docker compose up -d --wait
    make replicas DATA=folder

Each replica scores one image at a time with one thread, and gets half a core (`--cores`): two of
them then leave enough of a machine of two cores to all other services. The rounds alternate, and
each round sends images that the workers have not seen.
"""

import asyncio
import os
import subprocess
from statistics import median
from typing import Any

import pandas as pd

from infra.acceptance.client import Client, save
from infra.acceptance.products import dataset, rows_of
from tests.bench.arguments import system_parser
from tests.bench.catalog import files_of, final_catalog
from tests.bench.commands import run_command
from tests.bench.faults.survivors import compose, healthy

SERVICE = "worker-image-catalog"
IMAGES, ROUNDS = 192, 3


def main() -> int:
    """Scale, measure and return the exit code."""
    parser = system_parser(__doc__)
    parser.add_argument(
        "--cores", type=float, default=0.5, help="CPU limit of a replica (%(default)s)"
    )
    args = parser.parse_args()
    os.environ["IMAGE_MODEL_CALLS"] = "1"
    rows = rows_of(dataset(args.data), "fusion").head(IMAGES)
    try:
        found = asyncio.run(measure(args.url, rows, args.cores))
    finally:
        del os.environ["IMAGE_MODEL_CALLS"]
        scale(1)
    save("replicas", found)
    one, two = (figures["rows_per_second"] for figures in found)
    print(f"{one:.1f} rows/s with one replica, {two:.1f} with two: {two / one:.2f} times as many")
    return 0


async def measure(url: str, rows: pd.DataFrame, cores: float) -> list[dict[str, Any]]:
    """Run rounds with one and with two replicas; return the median of each."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    async with Client(url) as client:
        for _ in range(ROUNDS):
            for replicas in rates:
                await asyncio.to_thread(scale, replicas)
                await asyncio.to_thread(limit, cores)
                files = files_of(rows.head(0), rows, salt=os.urandom(8))
                catalog = await client.upload(files.form, os.urandom(8).hex())
                catalog = await final_catalog(client, catalog["id"])
                rates[replicas].append(float(catalog["rows_per_second"]))
                print(f"  replicas {replicas}: {rates[replicas][-1]:.1f} rows/s", flush=True)
    return [{"replicas": n, "rows_per_second": median(found)} for n, found in rates.items()]


def scale(replicas: int) -> None:
    """Set the number of replicas and wait until they are healthy."""
    compose(
        "up", "-d", "--no-build", "--no-deps", "--wait", "--scale", f"{SERVICE}={replicas}", SERVICE
    )
    healthy()


def limit(cores: float) -> None:
    """Limit the CPU time of each replica."""
    replicas = compose("ps", "--quiet", SERVICE).split()
    update = ("docker", "update", "--cpus", f"{cores:g}", *replicas)
    subprocess.run(update, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    run_command(main)
