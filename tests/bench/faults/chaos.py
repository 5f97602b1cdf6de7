"""Jobs in flight while every worker in turn, and Redis, are killed with SIGKILL.

    make chaos DATA=folder

supervisord restarts what was killed. At the end every job must be done, once: none lost, none
changed after it was final, one score per modality that it asked for, no dead letter.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy

from infra.acceptance.client import Client, Product, in_flight, save
from infra.acceptance.products import dataset, products_of, rows_of
from infra.embedded.settings import EmbeddedSettings
from infra.embedded.strays import instance_processes

JOBS = 300
VICTIMS = ("text-interactive", "image-interactive", "fusion-interactive", "redis")
#: After a victim is back, this much time for work to be in its hands before the next one dies.
BREATH_SECONDS = 3.0
RESTART_SECONDS = 60.0
#: What a killed worker held comes back after the broker's visibility timeout of two minutes.
DRAIN_SECONDS = 300.0


def main() -> int:
    """Submit, kill, count; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=EmbeddedSettings().home)
    given = parser.parse_args()
    home = given.home.resolve()
    figures = asyncio.run(_run(given.url, home, _products(given.data)))
    save("chaos", figures)
    return 0 if _is_whole(figures) else 1


def _products(folder: Path) -> list[Product]:
    """A mixture of the three kinds, the same each time."""
    data = dataset(folder)
    each = JOBS // 3
    products = [
        product
        for model in ("text", "image", "fusion")
        for product in products_of(rows_of(data, model).head(each), model)
    ]
    while len(products) < JOBS:
        products.append(products[len(products) % each])
    random.Random(0).shuffle(products)
    return products


async def _run(url: str, home: Path, products: list[Product]) -> dict[str, Any]:
    async with Client(url) as client:
        started = time.perf_counter()
        killing = asyncio.create_task(_kill_all(client, home))
        jobs = await in_flight(32, products, client.submit)
        print(f"{len(jobs)} jobs submitted in {time.perf_counter() - started:.1f} s", flush=True)
        finals = await asyncio.gather(*(client.final(job["id"]) for job in jobs))
        print(f"last answer after {time.perf_counter() - started:.1f} s", flush=True)
        kills = await killing
        # What was delivered twice is handled by now or soon; then every queue is empty.
        queues = await _drained(client)
        again = await in_flight(16, [job["id"] for job in jobs], client.final)
    return {
        "jobs": len(jobs),
        "seconds": time.perf_counter() - started,
        "killed": kills,
        "statuses": Counter(job["status"] for job in finals),
        "degraded": sum(bool(job["result"] and job["result"]["degraded"]) for job in finals),
        "changed_after_final": sum(a != b for a, b in zip(finals, again, strict=True)),
        "left_in_queues": queues,
        **_rows(home, [job["id"] for job in jobs], products),
    }


async def _kill_all(client: Client, home: Path) -> list[dict[str, Any]]:
    """Kill each victim in turn; with the number of jobs that were unfinished at that moment."""
    kills = []
    for name in VICTIMS:
        while not (unfinished := (await client.get("/v1/queues"))["jobs_queued"]):
            await asyncio.sleep(0.02)
        kills.append({"unfinished": unfinished} | await kill(home, name))
    return kills


async def kill(home: Path, name: str) -> dict[str, Any]:
    """Kill a process and wait until it is back, with time for work to reach its hands."""
    victim = instance_processes(home)[name]
    victim.kill()
    started = time.perf_counter()
    while (found := instance_processes(home).get(name)) is None or found.pid == victim.pid:
        if time.perf_counter() - started > RESTART_SECONDS:
            raise SystemExit(f"{name} did not come back")
        await asyncio.sleep(0.1)
    seconds = time.perf_counter() - started
    print(f"killed {name} ({victim.pid}); back as {found.pid} after {seconds:.1f} s", flush=True)
    await asyncio.sleep(BREATH_SECONDS)
    return {"process": name, "back_after_seconds": seconds}


async def _drained(client: Client) -> int:
    """Messages left: none, or those still there when the time is up."""
    deadline = time.perf_counter() + DRAIN_SECONDS
    while True:
        queues = await client.get("/v1/queues")
        left = sum(queue["waiting"] + queue["running"] for queue in queues["items"])
        if left == 0 or time.perf_counter() > deadline:
            return int(left)
        await asyncio.sleep(0.5)


def _rows(home: Path, ids: list[str], products: list[Product]) -> dict[str, Any]:
    """Look into the database: jobs, their scores by modality, dead letters."""
    wanted = Counter[str]()
    for product in products:
        wanted.update({"text": product.model != "image", "image": product.model != "text"})
    engine = sqlalchemy.create_engine(f"sqlite:///{home / 'rayon.db'}")
    with engine.connect() as connection:
        jobs = sqlalchemy.text("SELECT count(*) FROM jobs WHERE id IN :ids")
        scores = sqlalchemy.text(
            "SELECT modality, count(*) FROM scores WHERE job_id IN :ids GROUP BY modality"
        )
        ids_in: Any = sqlalchemy.bindparam("ids", ids, expanding=True)
        counted: dict[str, int] = dict(
            tuple(row) for row in connection.execute(scores.bindparams(ids_in))
        )
        rows = connection.execute(jobs.bindparams(ids_in)).scalar_one()
        parked = connection.exec_driver_sql("SELECT count(*) FROM dead_letters").scalar_one()
    engine.dispose()
    return {
        "rows": rows,
        "scores": counted,
        "scores_wanted": dict(wanted),
        "dead_letters": parked,
    }


def _is_whole(figures: dict[str, Any]) -> bool:
    checks = {
        "every job done": figures["statuses"] == {"done": figures["jobs"]},
        "each has one row": figures["rows"] == figures["jobs"],
        "each modality scored once": figures["scores"] == figures["scores_wanted"],
        "none degraded": figures["degraded"] == 0,
        "none changed after its end": figures["changed_after_final"] == 0,
        "nothing left in a queue": figures["left_in_queues"] == 0,
        "no dead letter": figures["dead_letters"] == 0,
    }
    for name, holds in checks.items():
        print(f"{'yes' if holds else 'NO':<4}{name}")
    return all(checks.values())


if __name__ == "__main__":
    sys.exit(main())
