"""CPU time of a single job and memory, by process, of a throw-away system.

    make cpu
    make cpu BEFORE=folder          # beside the checkout of another commit
    make cpu IDLE=120               # only an idle system, for so many seconds, after a second start

Response times depend on whatever else runs on a machine; CPU time hardly does. Single text jobs are
sent by one client, then by many, each with `Prefer: wait`, and the CPU time that each process used
meanwhile is divided by the jobs, less what it uses when idle. Memory is the proportional set size
(PSS), in which pages that processes share are divided among them.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from infra.embedded.settings import PROJECT
from tests.bench.arguments import plain_parser
from tests.bench.commands import run_command
from tests.bench.processes import family, programs
from tests.e2e.system import System

#: Time for which an idle system is measured, and time until it is idle after its start, in seconds.
IDLE_SECONDS, SETTLE_SECONDS = 20.0, 20.0
#: Jobs by the number of clients.
LOADS = {1: 150, 32: 1_200}
WARM_UP = 50
WAIT_SECONDS = 30
MIB = 1024 * 1024

Figures = dict[str, float]
#: Figures of each program, by the name of the column.
Table = dict[str, Figures]


def main() -> int:
    """Measure one or two checkouts, print a table of each and return the exit code."""
    parser = plain_parser(__doc__)
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit")
    parser.add_argument("--idle", type=float, help="measure only an idle system, in seconds")
    args = parser.parse_args()
    for name, checkout in _checkouts(args).items():
        _show(name, _measure(checkout, args.idle))
    return 0


def _checkouts(args: argparse.Namespace) -> Mapping[str, Path]:
    return {**({"before": args.before} if args.before else {}), "now": PROJECT}


def _measure(checkout: Path, idle_seconds: float | None) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), checkout)
        try:
            system.start()
            if idle_seconds is None:
                return _figures(system)
            system.stop()
            started = time.perf_counter()
            system.start()
            seconds, used = time.perf_counter() - started, sum(_cpu_seconds(system).values())
            print(f"second start: {seconds:.1f} s, CPU time {used:.1f} s", flush=True)
            return _idle(system, idle_seconds)
        finally:
            system.stop()


def _idle(system: System, seconds: float) -> Table:
    """Measure a system without jobs, after a few, so that all lazy parts of a job are loaded."""
    asyncio.run(_send(system, 1, WARM_UP))
    time.sleep(SETTLE_SECONDS)
    used = _used(system, lambda: time.sleep(seconds))
    return {
        "idle, % of a core": {name: 100 * one / seconds for name, one in used.items()},
        "PSS, MiB": _memory(system),
    }


def _figures(system: System) -> Table:
    table = _idle(system, IDLE_SECONDS)
    idle = {name: one * IDLE_SECONDS / 100 for name, one in table["idle, % of a core"].items()}
    for clients, jobs in LOADS.items():
        started = time.perf_counter()
        used = _used(system, lambda clients=clients, jobs=jobs: _run(system, clients, jobs))  # type: ignore[misc]  # bound at once
        seconds = time.perf_counter() - started
        table[f"ms a job, {clients} clients"] = {
            name: 1000 * max(0.0, one - idle.get(name, 0.0) * seconds / IDLE_SECONDS) / jobs
            for name, one in used.items()
        }
    return table


def _run(system: System, clients: int, jobs: int) -> None:
    asyncio.run(_send(system, clients, jobs))


async def _send(system: System, clients: int, jobs: int) -> None:
    """Send text jobs and wait for the answers, with a number of requests at once."""
    numbers = iter(range(jobs))
    with system.client() as admin:
        headers = {"Authorization": admin.headers["Authorization"]}

    async def client() -> None:
        async with httpx.AsyncClient(base_url=system.address, headers=headers, timeout=60) as http:
            for number in numbers:
                await _classify(http, f"Piscine gonflable ronde {number}")

    await asyncio.gather(*(client() for _ in range(clients)))


async def _classify(http: httpx.AsyncClient, title: str) -> None:
    prefer = {"Prefer": f"wait={WAIT_SECONDS}"}
    response = await http.post("/v1/jobs", data={"designation": title}, headers=prefer)
    job = response.raise_for_status().json()
    if job["status"] == "queued":
        path = f"/v1/jobs/{job['id']}?wait={WAIT_SECONDS}"
        job = (await http.get(path)).raise_for_status().json()
    if job["status"] != "done":
        raise RuntimeError(f"Expected an answer. Received: {job}")


def _used(system: System, act: Callable[[], None]) -> Figures:
    """Return the seconds of CPU time that each program uses meanwhile."""
    before = _cpu_seconds(system)
    act()
    after = _cpu_seconds(system)
    return {name: after[name] - before.get(name, 0.0) for name in after}


def _cpu_seconds(system: System) -> Figures:
    return _of_each(system, lambda process: sum(process.cpu_times()[:2]))


def _memory(system: System) -> Figures:
    return _of_each(system, lambda process: process.memory_full_info().pss / MIB)


def _of_each(system: System, read: Callable[[psutil.Process], float]) -> Figures:
    found: Figures = {}
    for name, program in programs(system.home).items():
        # The programs are children of supervisord; they are measured by themselves.
        members = [program] if name == "supervisord" else family(program)
        for one in members:
            with suppress(psutil.Error):
                found[name] = found.get(name, 0.0) + read(one)
    return found


def _show(name: str, table: Table) -> None:
    columns = list(table)
    print(f"{name:20}" + "".join(f"{column:>22}" for column in columns))
    for program in sorted({one for column in table.values() for one in column}):
        cells = "".join(f"{table[column].get(program, 0.0):>22.2f}" for column in columns)
        print(f"{program:20}{cells}")
    sums = "".join(f"{sum(table[column].values()):>22.2f}" for column in columns)
    print(f"{'sum':20}{sums}\n", flush=True)


if __name__ == "__main__":
    run_command(main)
