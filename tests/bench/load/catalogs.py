"""Whole catalogs beside the bare models, and single jobs while a catalog runs.

    make bench DATA=folder

The system must be idle and on this machine. The bare models score the same rows in this process,
in their best form: texts of one length together, as many calls at once as there are cores. Rows of
a catalog are the dataset's test rows, over and over, each title numbered; images are made new
for every run, so that no worker has seen them.
"""

import argparse
import asyncio
import csv
import io
import os
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from infra.acceptance.client import Client, Product, save
from infra.acceptance.products import dataset, rows_of
from infra.embedded.settings import PROJECT, EmbeddedSettings
from infra.embedded.strays import instance_processes
from shared.inference.manifest import ReleaseManifest
from shared.inference.preparation.image import prepare
from shared.inference.preparation.text import product_text
from shared.inference.releases.image_model import Head
from tests.bench.load.speed import percentiles
from worker_image.scorer import Backbones, ImageScorer
from worker_text.scorer import ALIKE, TextScorer

BARE_TEXTS, BARE_IMAGES = 4_096, 100
IMAGES = 200
LATENCY_JOBS = 100
CORES = os.cpu_count() or 1


def main() -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=EmbeddedSettings().home)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    given = parser.parse_args()
    data = dataset(given.data)
    texts, images = rows_of(data, "text"), rows_of(data, "fusion").head(IMAGES)
    figures = asyncio.run(_measure(given.url, given.home.resolve(), texts, images, given.rows))
    save("catalogs", figures)
    return 0


async def _measure(
    url: str, home: Path, texts: pd.DataFrame, images: pd.DataFrame, sizes: Sequence[int]
) -> dict[str, Any]:
    release = ReleaseManifest.model_validate_json((_folder() / "release.json").read_text())
    bare_texts = _bare_texts(release, texts)
    bare_images = _bare_images(release, images)
    print(f"bare model {bare_texts:8.1f} texts/s {bare_images:8.1f} images/s", flush=True)
    figures: dict[str, Any] = {"bare_texts": bare_texts, "bare_images": bare_images}
    async with Client(url) as client:
        await catalog_of(client, home, table_of(texts, 64), None)
        for size in sizes:
            found = await catalog_of(client, home, table_of(texts, size), None)
            figures[f"texts_{size}"] = _shown(f"{size} texts", found, bare_texts)
        for model in ("image", "fusion"):
            archive = _archive(images)
            found = await catalog_of(client, home, table_of(images, len(images)), archive, model)
            what = f"{len(images)} {'images' if model == 'image' else 'of both'}"
            figures[f"{model}_{len(images)}"] = _shown(what, found, bare_images)
        figures["single"] = await _single(client, home, texts, max(sizes))
    return figures


async def _single(client: Client, home: Path, texts: pd.DataFrame, size: int) -> dict[str, Any]:
    """Latency of single jobs, idle and while a catalog runs."""
    idle = await _latency(client, texts)
    running = asyncio.create_task(catalog_of(client, home, table_of(texts, size), None))
    await asyncio.sleep(3)
    busy = await _latency(client, texts)
    if running.done():
        raise SystemExit("The catalog ended before the single jobs did; take more rows")
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
    """Send a catalog, wait for it, and see what it cost."""
    files = {"products": ("p.csv", table)}
    if archive is not None:
        files["images"] = ("p.zip", archive)
    before, started = _usage(home), time.perf_counter()
    catalog = await client.upload(files, os.urandom(8).hex(), model=model)
    while catalog["status"] in ("validating", "running"):
        catalog = await client.get(f"/v1/catalogs/{catalog['id']}", wait=30)
    seconds = time.perf_counter() - started
    done = catalog["counts"]["done"]
    if done != catalog["counts"]["rows"]:
        raise SystemExit(f"Not every row is done: {catalog['counts']}")
    spent = {name: end - before.get(name, (0.0, 0))[0] for name, (end, _) in _usage(home).items()}
    return {
        "rows": done,
        "rows_per_second": catalog["rows_per_second"],
        "seconds_with_upload": seconds,
        "cpu_ms_per_row": {
            name: 1000 * cpu / done for name, cpu in spent.items() if cpu > 0.005 * seconds
        },
        "peak_megabytes": {name: peak for name, (_, peak) in _usage(home).items()},
    }


def _shown(what: str, found: dict[str, Any], bare: float) -> dict[str, Any]:
    ratio = found["rows_per_second"] / bare
    cpu = sum(found["cpu_ms_per_row"].values())
    print(
        f"{what:>16} {found['rows_per_second']:8.1f} rows/s   {ratio:.2f} of the bare model   "
        f"{cpu:.2f} ms CPU a row",
        flush=True,
    )
    return {**found, "ratio": ratio}


def _usage(home: Path) -> dict[str, tuple[float, int]]:
    """Of each process: CPU seconds so far, and the most memory it ever had, in MB."""
    found = {}
    for name, process in instance_processes(home).items():
        times = process.cpu_times()
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        found[name] = (times.user + times.system, int(peak.split()[1]) // 1024)
    return found


def _bare_texts(release: ReleaseManifest, rows: pd.DataFrame) -> float:
    scorer = TextScorer(_folder(), release, threads=1)
    chosen = [
        product_text(f"{row.designation} {number}", str(row.description))
        for number, row in enumerate(rows.head(BARE_TEXTS).itertuples())
    ]
    ordered = sorted(chosen, key=len)
    batches = [ordered[start : start + ALIKE] for start in range(0, len(ordered), ALIKE)]
    return len(chosen) / _seconds(scorer.score, batches)


def _bare_images(release: ReleaseManifest, rows: pd.DataFrame) -> float:
    part = release.image_part
    scorer = ImageScorer(_folder(), release, Backbones(threads=1))
    head = Head(_folder(), part)
    files = [Path(str(row.image)) for row in rows.head(BARE_IMAGES).itertuples()]

    def score(path: Path) -> None:
        head.score(scorer.score([prepare(path.read_bytes(), part.size)]))

    return len(files) / _seconds(score, files)


def _seconds(act: Callable[[Any], object], things: Sequence[Any]) -> float:
    with ThreadPoolExecutor(CORES) as pool:
        started = time.perf_counter()
        list(pool.map(act, things))
        return time.perf_counter() - started


def table_of(rows: pd.DataFrame, size: int) -> bytes:
    table = io.StringIO(newline="")
    lines = csv.writer(table)
    lines.writerow(["designation", "description", "image"])
    for number in range(size):
        row = rows.iloc[number % len(rows)]
        image = Path(str(row["image"])).name if "image" in row else ""
        lines.writerow([f"{row['designation']} {number}", row["description"], image])
    return table.getvalue().encode()


def _archive(rows: pd.DataFrame) -> bytes:
    archive, salt = io.BytesIO(), os.urandom(8)
    with zipfile.ZipFile(archive, "w") as images:
        for row in rows.itertuples():
            path = Path(str(row.image))
            # Equal to the eye and yet another file: no worker has seen it.
            images.writestr(path.name, path.read_bytes() + salt)
    return archive.getvalue()


def _folder() -> Path:
    return PROJECT / "infra" / "starter_release"


if __name__ == "__main__":
    sys.exit(main())
