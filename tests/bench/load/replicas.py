"""Two replicas of the image worker beside one: rows of a catalog a second.

    docker compose up -d --wait
    make replicas DATA=folder

Each replica scores one image at a time with one thread, so that two have two cores; the rounds
alternate. Images are new to the workers in each round.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from infra.acceptance.client import Client, save
from infra.acceptance.products import dataset, rows_of
from tests.bench.faults.catalog_chaos import files_of, final_catalog
from tests.bench.faults.survivors import compose, healthy

SERVICE = "worker-image-catalog"
IMAGES, ROUNDS = 96, 3


def main() -> int:
    """Scale and measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    os.environ["IMAGE_MODEL_CALLS"] = "1"
    rows = rows_of(dataset(given.data), "fusion").head(IMAGES)
    try:
        found = asyncio.run(measure(given.url, rows))
    finally:
        del os.environ["IMAGE_MODEL_CALLS"]
        scale(1)
    save("replicas", found)
    print(
        f"{found[0]['rows_per_second']:.1f} rows/s with one, {found[1]['rows_per_second']:.1f} "
        f"with two: {found[1]['rows_per_second'] / found[0]['rows_per_second']:.2f} times as many"
    )
    return 0


async def measure(url: str, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rounds with one and with two replicas; the median of each."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    async with Client(url) as client:
        for _ in range(ROUNDS):
            for replicas in rates:
                await asyncio.to_thread(scale, replicas)
                files = files_of(rows.head(0), rows, salt=os.urandom(8))
                catalog = await client.upload(files.form, os.urandom(8).hex())
                catalog = await final_catalog(client, catalog["id"])
                rates[replicas].append(float(catalog["rows_per_second"]))
                print(f"  {replicas} replicas: {rates[replicas][-1]:.1f} rows/s", flush=True)
    return [{"replicas": n, "rows_per_second": median(found)} for n, found in rates.items()]


def scale(replicas: int) -> None:
    """Have so many of them, and wait until they are well."""
    compose(
        "up", "-d", "--no-build", "--no-deps", "--wait", "--scale", f"{SERVICE}={replicas}", SERVICE
    )
    healthy()


if __name__ == "__main__":
    sys.exit(main())
