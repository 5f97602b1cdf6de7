"""Cost of a row of a catalog from its first row to its last, which is flat if nothing grows.

    make growth ROWS=1000000 STEP=100000 DATA=folder

Starts a throw-away system and uploads one catalog of texts: the rows of DATA, repeated in other
orders. Prints, for the check of the upload and for each step of rows: rows done, rows per second,
CPU time per row of the whole system in milliseconds, that of a fixed computation beside it, which
tells how fast the machine was, memory (PSS) and the size of the database in MB, and the CPU time
per row of each program. Then prints the last step divided by the first, the second half of the
rows divided by the first half, of each program too, the slope of a line fitted by least squares in
% per 100,000 rows, and the time and size of the downloads of the whole result. Exits with 1 if a
row was not answered or is missing in the result.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pandas as pd
import psutil

from infra.acceptance.client import Client, save
from infra.acceptance.products import dataset
from tests.bench.arguments import dataset_parser
from tests.bench.commands import run_command
from tests.bench.load.row_costs import SLOPE_ROWS, Step, cost, halves, slope
from tests.bench.processes import family, programs
from tests.bench.reference import Reference, reference
from tests.bench.soak.samples import data_megabytes, sample
from tests.bench.throwaway import throwaway_system
from tests.e2e.system import System

POLL_SECONDS = 2.0
#: A catalog in which no row is answered for this time is given up.
STUCK_SECONDS = 600.0
#: Programs that use less, in milliseconds per row, are not printed.
LEAST_MS = 0.02
#: No training shall start beside the catalog.
SETTINGS = {"RAYON_MONITOR_RESPONSE": "ask"}
#: Formats of the result that are downloaded; a line of the second one is a row.
FORMATS = ("csv", "jsonl")


class Meter:
    """Reader of the figures of each step."""

    def __init__(self, system: System, beside: Reference) -> None:
        self._system, self._beside = system, beside
        self._seen: dict[tuple[int, float], float] = {}
        self._used: defaultdict[str, float] = defaultdict(float)
        self.poll()
        self._begin()

    def poll(self) -> None:
        """Add the CPU time since the last call; called often, it misses no process that ends."""
        for name, program in programs(self._system.home).items():
            with suppress(psutil.Error):
                # The programs are children of supervisord; they are measured by themselves.
                members = [program] if name == "supervisord" else family(program)
                for one in members:
                    self._add(name, one)

    def step(self, first: int, rows: int) -> Step:
        """Return the figures since the last step."""
        self.poll()
        now = time.monotonic()
        computations = self._beside.computations(self._began, now)
        found = Step(
            first,
            rows,
            now - self._began,
            dict(self._used),
            1000 * median(computations or [float("nan")]),
            sum(size for name, size in sample(self._system).items() if name.endswith("PSS MB")),
            data_megabytes(self._system.home)["database"],
        )
        self._begin()
        return found

    def _begin(self) -> None:
        self._used, self._began = defaultdict(float), time.monotonic()

    def _add(self, name: str, process: psutil.Process) -> None:
        with suppress(psutil.Error):
            key = (process.pid, process.create_time())
            seconds = sum(process.cpu_times()[:2])
            self._used[name] += seconds - self._seen.get(key, 0.0)
            self._seen[key] = seconds


def main() -> int:
    """Measure one catalog, print its table and return the exit code."""
    args = _arguments()
    products = table_of(dataset(args.data).rows, args.rows)
    print(f"{args.rows} rows, {len(products) / 2**20:.0f} MB", flush=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        reference(Path(folder)) as beside,
        throwaway_system(**SETTINGS) as system,
    ):
        os.environ["RAYON_ADMIN_PASSWORD"] = system.password
        figures = asyncio.run(_measure(system, Meter(system, beside), products, args))
    save("growth", figures)
    return 0 if figures["all_answered"] else 1


def _arguments() -> argparse.Namespace:
    parser = dataset_parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--step", type=int, default=100_000, help="default: %(default)s")
    args = parser.parse_args()
    if args.step < 1 or args.rows % args.step or args.rows < 2 * args.step:
        parser.error(
            "Expected at least two whole steps of at least one row. "
            f"Received: {args.rows} rows in steps of {args.step}"
        )
    return args


def table_of(rows: pd.DataFrame, size: int) -> bytes:
    """Return a CSV table of a size that repeats the rows with a text, each time in another order.

    Args:
        rows: Rows with `designation`, `description` and `has_text`.
        size: Rows of the table.
    """
    texts = rows.loc[rows["has_text"], ["designation", "description"]]
    orders = (texts.sample(frac=1, random_state=seed) for seed in range(-(-size // len(texts))))
    return pd.concat(orders).head(size).to_csv(index=False).encode()


async def _measure(
    system: System, meter: Meter, products: bytes, args: argparse.Namespace
) -> dict[str, Any]:
    async with Client(system.address) as client:
        catalog, check, steps = await _followed(client, meter, products, args.step)
        counts = catalog["counts"]
        print(f"{catalog['status']}: {counts}")
        downloads = {
            name: await _download(client, system, meter, catalog["id"], name) for name in FORMATS
        }
    all_answered = counts["done"] == args.rows == downloads["jsonl"]["lines"]
    figures = {
        "rows": args.rows,
        "counts": counts,
        "all_answered": all_answered,
        "check": asdict(check),
        "steps": [asdict(step) for step in steps],
        "downloads": downloads,
    }
    return figures | (_summary(steps) if len(steps) > 1 else {})


async def _followed(
    client: Client, meter: Meter, products: bytes, size: int
) -> tuple[dict[str, Any], Step, list[Step]]:
    """Upload a catalog and return it once it is final, with its check and its steps."""
    print(
        f"{'':>12}{'rows done':>11}{'rows/s':>8}{'CPU ms/row':>12}{'computation ms':>16}"
        f"{'PSS MB':>8}{'database MB':>13}"
    )
    catalog = await client.upload({"products": ("p.csv", products)}, "growth", model="text")
    while catalog["status"] == "validating":
        catalog = await _next(client, meter, catalog)
    check = meter.step(0, catalog["counts"]["rows"])
    _print("check", check, 0)
    steps: list[Step] = []
    done, moved = 0, time.monotonic()
    while catalog["status"] == "running":
        catalog = await _next(client, meter, catalog)
        now_done = catalog["counts"]["done"]
        moved = time.monotonic() if now_done > done else moved
        done = now_done
        if time.monotonic() - moved > STUCK_SECONDS:
            raise SystemExit(f"No row was answered for {STUCK_SECONDS:.0f} s: {catalog['counts']}")
        first = steps[-1].first + steps[-1].rows if steps else 0
        is_last = catalog["status"] != "running"
        if done // size > first // size or (is_last and done > first):
            steps.append(meter.step(first, done - first))
            _print(f"step {len(steps)}", steps[-1], done)
    return catalog, check, steps


async def _next(client: Client, meter: Meter, catalog: Mapping[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(POLL_SECONDS)
    meter.poll()
    return await client.get(f"/v1/catalogs/{catalog['id']}")


def _print(name: str, step: Step, done: int) -> None:
    each = {program: 1000 * used / step.rows for program, used in step.cpu_seconds.items()}
    largest = sorted(each.items(), key=lambda pair: -pair[1])
    shown = ", ".join(f"{program} {one:.2f}" for program, one in largest if one >= LEAST_MS)
    print(
        f"{name:>12}{done:>11}{step.rows / step.seconds:>8.0f}{sum(each.values()):>12.3f}"
        f"{step.computation_ms:>16.2f}{step.pss_mb:>8.0f}{step.database_mb:>13.0f}  {shown}",
        flush=True,
    )


async def _download(
    client: Client, system: System, meter: Meter, catalog_id: str, kind: str
) -> dict[str, float]:
    """Stream the result in a format and return its bytes, its lines and its cost."""
    # The first request renews an expired sign-in.
    await client.get(f"/v1/catalogs/{catalog_id}")
    path, size, lines = f"/v1/catalogs/{catalog_id}/results", 0, 0
    meter.step(0, 0)
    async with (
        httpx.AsyncClient(base_url=system.address, headers=client.bearer, timeout=60) as http,
        http.stream("GET", path, params={"format": kind}) as answer,
    ):
        answer.raise_for_status()
        async for piece in answer.aiter_bytes():
            size += len(piece)
            lines += piece.count(b"\n")
    used = meter.step(0, 0)
    cpu_seconds = sum(used.cpu_seconds.values())
    print(
        f"download of {kind}: {size / 2**20:.1f} MB in {used.seconds:.1f} s, "
        f"{cpu_seconds:.1f} s of CPU, PSS {used.pss_mb:.0f} MB",
        flush=True,
    )
    return {
        "bytes": size,
        "lines": lines,
        "seconds": used.seconds,
        "cpu_seconds": cpu_seconds,
        "pss_mb": used.pss_mb,
    }


def _summary(steps: Sequence[Step]) -> dict[str, Any]:
    """Print the growth of the cost and return its figures."""
    costs = [cost(step) for step in steps]
    earlier, later = halves(steps)
    ratios = {name: later[name] / earlier[name] for name in earlier if earlier[name] >= LEAST_MS}
    ratio = sum(later.values()) / sum(earlier.values())
    percent = slope(steps)
    print(f"last step / first step {costs[-1] / costs[0]:.3f}, second half / first {ratio:.3f}")
    print(f"slope {percent:+.2f} % per {SLOPE_ROWS:,} rows")
    for name, one in sorted(ratios.items(), key=lambda pair: -earlier[pair[0]]):
        print(f"  {name:20}{earlier[name]:>8.3f}{later[name]:>8.3f} ms, ratio {one:.3f}")
    return {
        "last_to_first": costs[-1] / costs[0],
        "second_half_to_first": ratio,
        "slope_percent": percent,
        "second_half_to_first_by_program": ratios,
    }


if __name__ == "__main__":
    run_command(main)
