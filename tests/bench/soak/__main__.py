"""Soak: a steady load on a throw-away system, and what grows meanwhile.

    make soak MINUTES=60 RATE=30

Sends jobs, some of them with a new image each, and a catalog from time to time. Each minute it
samples memory, descriptors and threads of every program and the growth of the logs, and the
client's times from the moment a job was due to its answer, beside those of a bare endpoint and of a
fixed computation: other programs of the machine slow these down too. At the end, or at SIGTERM, it
prints the means of minutes 3 to 7 and of the last five, and marks what grew by more than 10 %.
"""

import argparse
import asyncio
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command
from tests.bench.reference import Reference, reference
from tests.bench.soak.load import Load, Minute
from tests.bench.soak.report import Series, add_minute, changes, table
from tests.bench.soak.samples import Meter, data_megabytes, log_bytes
from tests.bench.throwaway import throwaway_system
from tests.e2e.system import System

MINUTE_SECONDS = 60.0
#: Time for the last jobs to be answered.
FINISH_SECONDS = 60.0
#: Titles of random words drift from those of the training; no training shall start.
SETTINGS = {"RAYON_MONITOR_RESPONSE": "ask"}


def main() -> int:
    """Run the soak, print its table and return the exit code."""
    args = _arguments()
    with (
        tempfile.TemporaryDirectory() as folder,
        reference(Path(folder)) as beside,
        throwaway_system(**SETTINGS) as system,
    ):
        series, outcomes = asyncio.run(_soak(system, beside, args))
        print("\n".join(f"{name}: {size:.1f} MB" for name, size in _sizes(system).items()))
    return _report(series, outcomes)


def _arguments() -> argparse.Namespace:
    parser = plain_parser(__doc__)
    parser.add_argument("--minutes", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=30, help="jobs a second (%(default)s)")
    parser.add_argument(
        "--images", type=float, default=1, help="jobs with an image a second (%(default)s)"
    )
    parser.add_argument(
        "--catalog-minutes", type=int, default=5, help="minutes between catalogs (%(default)s)"
    )
    parser.add_argument("--rows", type=int, default=200, help="rows of a catalog (%(default)s)")
    return parser.parse_args()


async def _soak(
    system: System, beside: Reference, args: argparse.Namespace
) -> tuple[Series, Counter[str]]:
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    load = Load(system.address, _key(system), beside.address, args.rate, args.images)
    sending = asyncio.create_task(load.run())
    series, outcomes = Series(list), Counter[str]()
    meter, start = Meter(system, beside), time.monotonic()
    for number in range(1, args.minutes + 1):
        if number % args.catalog_minutes == 0:
            await load.catalog(args.rows)
        if await _is_set(stopped, start + number * MINUTE_SECONDS - time.monotonic()):
            break
        minute = load.turn()
        figures = _client_figures(minute) | await asyncio.to_thread(meter.read)
        add_minute(series, number, figures)
        outcomes += minute.outcomes
        print(_minute_line(number, figures, minute), flush=True)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await load.finish(FINISH_SECONDS)
    return series, outcomes + load.turn().outcomes


async def _is_set(stopped: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stopped.wait(), max(0.0, seconds))
    except TimeoutError:
        return False
    return True


def _key(system: System) -> str:
    with system.client() as admin:
        scopes = ["jobs:write", "jobs:read", "catalogs:write"]
        made = admin.post("/v1/api-keys", json={"name": "soak", "scopes": scopes})
    made.raise_for_status()
    return str(made.json()["key"])


def _client_figures(minute: Minute) -> dict[str, float]:
    """Return median and 95th percentile of each kind of request, and the ratios to the bare one."""
    figures: dict[str, float] = {}
    for kind in ("text", "image", "accept", "bare"):
        seconds = getattr(minute, kind)
        if seconds:
            half, late = np.quantile(seconds, [0.5, 0.95])
            figures |= {f"{kind} p50 ms": half * 1000, f"{kind} p95 ms": late * 1000}
    bare = figures.get("bare p95 ms")
    ratios = {
        f"{kind} p95 to bare ratio": figures[f"{kind} p95 ms"] / bare
        for kind in ("text", "image", "accept")
        if bare and f"{kind} p95 ms" in figures
    }
    return figures | ratios


def _minute_line(number: int, figures: dict[str, float], minute: Minute) -> str:
    memory = sum(value for name, value in figures.items() if name.endswith("PSS MB"))
    times = ", ".join(
        f"{kind} p95 {figures[f'{kind} p95 ms']:.0f} ms"
        for kind in ("text", "image", "accept", "bare")
        if f"{kind} p95 ms" in figures
    )
    return f"minute {number}: PSS {memory:.0f} MB, {times}, {dict(minute.outcomes)}"


def _sizes(system: System) -> dict[str, float]:
    return data_megabytes(system.home) | {"logs": log_bytes(system.home) / 2**20}


def _report(series: Series, outcomes: Counter[str]) -> int:
    found = changes(series)
    print("\n".join(["", *table(found), "", f"outcomes: {dict(outcomes)}"]))
    grown = [change.name for change in found if not change.is_flat]
    print(f"not flat: {', '.join(grown) or 'nothing'}")
    return 1 if grown or outcomes["failed"] else 0


if __name__ == "__main__":
    run_command(main)
