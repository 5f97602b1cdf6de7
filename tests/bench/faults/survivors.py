"""The system of `docker-compose.yml` while each container is killed in turn.

    docker compose up -d --wait
    make survivors DATA=folder

A catalog of 200 real rows and single jobs are under way when the processes of a container are
killed with SIGKILL; Docker starts it again. PostgreSQL and Redis are restarted too. Every row and
every job must have its answer.
"""

import argparse
import asyncio
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from infra.acceptance.client import Client, Product, in_flight, save
from infra.acceptance.products import dataset, products_of, rows_of
from tests.bench.faults.catalog_chaos import files_of, final_catalog, results_path

TEXTS, IMAGES, SINGLES = 176, 24, 20
#: When work is in the hands of whoever is killed.
AFTER_SECONDS = 0.7
BACK_SECONDS = 120.0
RESTARTED = ("postgres", "redis")


def main() -> int:
    """Kill and count; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    data = dataset(given.data)
    texts = rows_of(data, "text").head(TEXTS)
    images = rows_of(data, "fusion").head(IMAGES)
    singles = products_of(rows_of(data, "text").tail(SINGLES), "text")
    found = asyncio.run(survive(given.url, texts, images, list(singles)))
    save("survivors", found)
    return 0 if not any(one["lost"] for one in found) else 1


async def survive(
    url: str, texts: pd.DataFrame, images: pd.DataFrame, singles: list[Product]
) -> list[dict[str, Any]]:
    """One round without a fault, then one for each container."""
    faults: dict[str, Callable[[], object]] = {"nothing": lambda: None}
    for service in running():
        faults[f"kill {service}"] = partial(kill, service)
    for service in RESTARTED:
        faults[f"restart {service}"] = partial(compose, "restart", service)
    found = []
    async with Client(url) as client:
        for name, fault in faults.items():
            files = files_of(texts, images, salt=os.urandom(8))
            started = time.perf_counter()
            catalog = await client.upload(files.form, os.urandom(8).hex())
            jobs = asyncio.create_task(in_flight(SINGLES, singles, client.classify))
            await asyncio.sleep(AFTER_SECONDS)
            await asyncio.to_thread(fault)
            answers = await jobs
            await final_catalog(client, catalog["id"])
            seconds = time.perf_counter() - started
            lines = csv.DictReader(io.StringIO(await client.text(results_path(catalog["id"]))))
            done = sum(line["status"] == "done" and not line["degraded"] for line in lines)
            lost = TEXTS + IMAGES - done + sum(one["status"] != "done" for one in answers)
            found.append({"fault": name, "seconds": round(seconds, 1), "lost": lost})
            told = f"{name:<28}{seconds:6.1f} s   rows {done}, jobs {len(answers)}, lost {lost}"
            print(told, flush=True)
            await asyncio.to_thread(healthy)
    return found


def running() -> list[str]:
    """Services that have a container now."""
    return sorted(set(compose("ps", "--services", "--status", "running").split()))


def kill(service: str) -> None:
    """End a service's containers at once, as the kernel would when memory runs out."""
    for container in compose("ps", "-q", service).split():
        told = subprocess.run(
            ["docker", "inspect", "-f", "{{.State.Pid}}", container],
            check=True,
            capture_output=True,
            text=True,
        )
        # Not `docker kill`: what a person ends stays ended.
        os.kill(int(told.stdout), signal.SIGKILL)


def healthy() -> None:
    """Wait until every container is well again."""
    deadline = time.monotonic() + BACK_SECONDS
    while True:
        lines = compose("ps", "--format", "json").splitlines()
        ill = [one["Service"] for one in map(json.loads, lines) if one["Health"] != "healthy"]
        if not ill:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"Not healthy again within {BACK_SECONDS:.0f} s: {', '.join(ill)}")
        time.sleep(0.5)


def compose(*arguments: str) -> str:
    """Run `docker compose`; returns what it printed."""
    ended = subprocess.run(
        ["docker", "compose", *arguments], check=True, capture_output=True, text=True
    )
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())
