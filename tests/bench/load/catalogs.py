"""Throughput of whole catalogs beside the bare models, and single jobs while a catalog runs.

    make bench DATA=folder

The system must be idle and on this machine. The bare models score the same rows in this process
under the best conditions: batches of texts of similar length, one thread per core. The rows of a
catalog are the test rows of the dataset, repeated with numbered titles; the images are made unique
for each run, so that no worker has seen them.
"""

import asyncio
import csv
import io
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from infra.acceptance.client import Client, Product, save
from infra.acceptance.products import dataset, rows_of
from infra.embedded.strays import instance_processes
from shared.inference.manifest import ReleaseManifest
from shared.inference.preparation.decoders import prepare
from shared.inference.preparation.text import product_text
from shared.inference.releases.image_model import Head
from tests.bench.arguments import embedded_parser
from tests.bench.catalog import archive_of
from tests.bench.commands import run_command
from tests.bench.load.memory import peak_megabytes
from tests.bench.load.timing import percentiles
from tests.bench.starter import STARTER
from worker_image.scorer import Backbones, ImageScorer
from worker_text.scorer import ALIKE, TextScorer

BARE_TEXTS, BARE_IMAGES = 4_096, 100
IMAGES = 200
LATENCY_JOBS = 100
CORES = os.cpu_count() or 1


def main() -> int:
    """Measure and return the exit code."""
    parser = embedded_parser(__doc__)
    parser.add_argument(
        "--rows",
        type=int,
        nargs="+",
        default=[1_000, 10_000, 50_000],
        help="sizes of the catalogs of texts (default: %(default)s)",
    )
    args = parser.parse_args()
    data = dataset(args.data)
    texts, images = rows_of(data, "text"), rows_of(data, "fusion").head(IMAGES)
    figures = asyncio.run(_measure(args.url, args.home.resolve(), texts, images, args.rows))
    save("catalogs", figures)
    return 0


async def _measure(
    url: str, home: Path, texts: pd.DataFrame, images: pd.DataFrame, sizes: Sequence[int]
) -> dict[str, Any]:
    release = ReleaseManifest.read(STARTER)
    bare_texts = _bare_texts(release, texts)
    bare_images = _bare_images(release, images)
    print(f"bare model {bare_texts:8.1f} texts/s {bare_images:8.1f} images/s", flush=True)
    figures: dict[str, Any] = {"bare_texts": bare_texts, "bare_images": bare_images}
    async with Client(url) as client:
        await catalog_of(client, home, table_of(texts, 64), None)
        for size in sizes:
            found = await catalog_of(client, home, table_of(texts, size), None)
            figures[f"texts_{size}"] = _compared(f"{size} texts", found, bare_texts)
        for model in ("image", "fusion"):
            archive = archive_of(images, os.urandom(8))
            found = await catalog_of(client, home, table_of(images, len(images)), archive, model)
            name = f"{len(images)} {'images' if model == 'image' else 'both'}"
            figures[f"{model}_{len(images)}"] = _compared(name, found, bare_images)
        figures["single"] = await _single_jobs(client, home, texts, max(sizes))
    return figures


async def _single_jobs(
    client: Client, home: Path, texts: pd.DataFrame, size: int
) -> dict[str, Any]:
    """Measure single jobs on an idle system and while a catalog runs."""
    idle = await _latency(client, texts)
    running = asyncio.create_task(catalog_of(client, home, table_of(texts, size), None))
    await asyncio.sleep(3)
    busy = await _latency(client, texts)
    if running.done():
        raise SystemExit("The catalog ended before the single jobs. Use more rows: --rows")
    await running
    ratio = busy["p95_ms"] / idle["p95_ms"]
    print(f"single job p95 {idle['p95_ms']:.0f} ms idle, {busy['p95_ms']:.0f} ms beside a catalog")
    return {"idle": idle, "beside_a_catalog": busy, "p95_ratio": ratio}


async def _latency(client: Client, texts: pd.DataFrame) -> dict[str, float]:
    seconds = []
    for number, row in enumerate(texts.head(LATENCY_JOBS).itertuples()):
        started = time.perf_counter()
        await client.classify(Product("text", f"{row.designation} {number}", str(row.description)))
        seconds.append(time.perf_counter() - started)
    return percentiles(seconds)


async def catalog_of(
    client: Client, home: Path, table: bytes, archive: bytes | None, model: str = "fusion"
) -> dict[str, Any]:
    """Send a catalog and wait for its end; return its rate, CPU time and memory.

    Exits with an error if a row is not done.
    """
    files = {"products": ("p.csv", table)}
    if archive is not None:
        files["images"] = ("p.zip", archive)
    usage_before, started = _usage(home), time.perf_counter()
    catalog = await client.upload(files, os.urandom(8).hex(), model=model)
    while catalog["status"] in ("validating", "running"):
        catalog = await client.get(f"/v1/catalogs/{catalog['id']}", wait=30)
    seconds = time.perf_counter() - started
    done = catalog["counts"]["done"]
    if done != catalog["counts"]["rows"]:
        raise SystemExit(f"Expected every row to be done. Received: {catalog['counts']}")
    usage = _usage(home)
    cpu_seconds = {
        name: total - usage_before.get(name, (0.0, 0))[0] for name, (total, _) in usage.items()
    }
    return {
        "rows": done,
        "rows_per_second": catalog["rows_per_second"],
        "seconds_with_upload": seconds,
        "cpu_ms_per_row": {
            name: 1000 * cpu / done for name, cpu in cpu_seconds.items() if cpu > 0.005 * seconds
        },
        "peak_megabytes": {name: peak for name, (_, peak) in usage.items()},
    }


def _compared(name: str, found: dict[str, Any], bare: float) -> dict[str, Any]:
    """Print the figures of a catalog beside the bare model, and return them with the ratio."""
    ratio = found["rows_per_second"] / bare
    cpu = sum(found["cpu_ms_per_row"].values())
    print(
        f"{name:>16} {found['rows_per_second']:8.1f} rows/s   {ratio:.2f} of the bare model   "
        f"{cpu:.2f} ms CPU per row",
        flush=True,
    )
    return {**found, "ratio": ratio}


def _usage(home: Path) -> dict[str, tuple[float, int]]:
    """Return the CPU seconds and the peak memory in MB of each process."""
    found = {}
    for name, process in instance_processes(home).items():
        times = process.cpu_times()
        found[name] = (times.user + times.system, int(peak_megabytes(process.pid)))
    return found


def _bare_texts(release: ReleaseManifest, rows: pd.DataFrame) -> float:
    scorer = TextScorer(STARTER, release, threads=1)
    texts = [
        product_text(f"{row.designation} {number}", str(row.description))
        for number, row in enumerate(rows.head(BARE_TEXTS).itertuples())
    ]
    ordered = sorted(texts, key=len)
    batches = [ordered[start : start + ALIKE] for start in range(0, len(ordered), ALIKE)]
    return len(texts) / _seconds(scorer.score, batches)


def _bare_images(release: ReleaseManifest, rows: pd.DataFrame) -> float:
    part = release.image_part
    scorer = ImageScorer(STARTER, release, Backbones(threads=1))
    head = Head(STARTER, part)
    files = [Path(str(row.image)) for row in rows.head(BARE_IMAGES).itertuples()]

    def score(path: Path) -> None:
        head.score(scorer.score([prepare(path.read_bytes(), part.size)]))

    return len(files) / _seconds(score, files)


def _seconds(score: Callable[[Any], object], batches: Sequence[Any]) -> float:
    """Score batches with one thread per core and return the elapsed time."""
    with ThreadPoolExecutor(CORES) as pool:
        started = time.perf_counter()
        list(pool.map(score, batches))
        return time.perf_counter() - started


def table_of(rows: pd.DataFrame, size: int) -> bytes:
    """Return a CSV table of a size that repeats the rows with numbered titles."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["designation", "description", "image"])
    for number in range(size):
        row = rows.iloc[number % len(rows)]
        image = Path(str(row["image"])).name if "image" in row else ""
        writer.writerow([f"{row['designation']} {number}", row["description"], image])
    return table.getvalue().encode()


if __name__ == "__main__":
    run_command(main)
