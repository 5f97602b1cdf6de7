"""A catalog and single jobs of the Compose system while each container is killed in turn.

    docker compose up -d --wait
    make survivors DATA=folder

While a catalog of 200 real rows and single jobs are in progress, the processes of a container are
killed with SIGKILL, and Docker restarts it. PostgreSQL and Redis are also restarted in an orderly
way. Every row and every job must be done.
"""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from infra.acceptance.client import Client, Product, in_flight, save
from infra.acceptance.products import dataset, products_of, rows_of
from tests.bench.arguments import system_parser
from tests.bench.catalog import files_of, final_catalog, results_of
from tests.bench.commands import run_command

TEXTS, IMAGES, SINGLES = 176, 24, 20
#: Delay of the fault, after which every service is at work.
FAULT_AFTER_SECONDS = 0.7
HEALTHY_SECONDS = 120.0
RESTARTED = ("postgres", "redis")


def main() -> int:
    """Kill containers, count rows and jobs, and return the exit code."""
    args = system_parser(__doc__).parse_args()
    data = dataset(args.data)
    texts = rows_of(data, "text").head(TEXTS)
    images = rows_of(data, "fusion").head(IMAGES)
    singles = products_of(rows_of(data, "text").tail(SINGLES), "text")
    rounds = asyncio.run(survive(args.url, texts, images, list(singles)))
    save("survivors", rounds)
    return 1 if any(round_["lost"] for round_ in rounds) else 0


async def survive(
    url: str, texts: pd.DataFrame, images: pd.DataFrame, singles: list[Product]
) -> list[dict[str, Any]]:
    """Run one round without a fault, then one for each container."""
    faults: dict[str, Callable[[], object]] = {"no fault": lambda: None}
    for service in running():
        faults[f"kill {service}"] = partial(kill, service)
    for service in RESTARTED:
        faults[f"restart {service}"] = partial(compose, "restart", service)
    rounds = []
    async with Client(url) as client:
        for name, fault in faults.items():
            files = files_of(texts, images, salt=os.urandom(8))
            started = time.perf_counter()
            catalog = await client.upload(files.form, os.urandom(8).hex())
            jobs = asyncio.create_task(in_flight(SINGLES, singles, client.classify))
            await asyncio.sleep(FAULT_AFTER_SECONDS)
            await asyncio.to_thread(fault)
            finals = await jobs
            await final_catalog(client, catalog["id"])
            seconds = time.perf_counter() - started
            rows = await results_of(client, catalog["id"])
            done = sum(row["status"] == "done" and not row["degraded"] for row in rows)
            lost = TEXTS + IMAGES - done + sum(job["status"] != "done" for job in finals)
            rounds.append({"fault": name, "seconds": round(seconds, 1), "lost": lost})
            line = f"{name:<28}{seconds:6.1f} s   rows {done}, jobs {len(finals)}, lost {lost}"
            print(line, flush=True)
            await asyncio.to_thread(healthy)
    return rounds


def running() -> list[str]:
    """Return the services with a running container."""
    return sorted(set(compose("ps", "--services", "--status", "running").split()))


def kill(service: str) -> None:
    """Kill the containers of a service, as the kernel does when memory runs out."""
    for container in compose("ps", "-q", service).split():
        inspected = subprocess.run(
            ["docker", "inspect", "-f", "{{.State.Pid}}", container],
            check=True,
            capture_output=True,
            text=True,
        )
        # Docker does not restart a container after `docker kill`.
        os.kill(int(inspected.stdout), signal.SIGKILL)


def healthy() -> None:
    """Wait until every container is healthy."""
    deadline = time.monotonic() + HEALTHY_SECONDS
    while True:
        lines = compose("ps", "--format", "json").splitlines()
        services = map(json.loads, lines)
        unhealthy = [each["Service"] for each in services if each["Health"] != "healthy"]
        if not unhealthy:
            return
        if time.monotonic() > deadline:
            names = ", ".join(unhealthy)
            raise SystemExit(f"Not healthy within {HEALTHY_SECONDS:.0f} s: {names}")
        time.sleep(0.5)


def compose(*arguments: str) -> str:
    """Run `docker compose` and return its output."""
    process = subprocess.run(
        ["docker", "compose", *arguments], check=True, capture_output=True, text=True
    )
    return process.stdout


if __name__ == "__main__":
    run_command(main)
