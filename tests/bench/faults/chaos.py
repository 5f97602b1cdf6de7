"""Jobs in flight while each worker in turn, and Redis, are killed with SIGKILL.

    make chaos DATA=folder

supervisord restarts the killed processes. At the end every job must be done exactly once: no job is
lost or changes after it was final, each requested modality has one score, and there is no dead
letter.
"""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy

from infra.acceptance.client import Client, Product, in_flight, save
from infra.acceptance.products import dataset, products_of, rows_of
from infra.embedded.strays import instance_processes
from tests.bench.arguments import embedded_parser
from tests.bench.commands import run_command
from tests.bench.faults.checks import all_hold

JOBS = 300
VICTIMS = ("text-interactive", "image-interactive", "fusion-interactive", "redis")
#: Pause after a restart, in which the process takes messages before the next one is killed.
PAUSE_SECONDS = 3.0
RESTART_SECONDS = 60.0
#: Messages held by a killed worker return after the broker's visibility timeout of two minutes.
DRAIN_SECONDS = 300.0


def main() -> int:
    """Submit jobs, kill processes, count the jobs and return the exit code."""
    args = embedded_parser(__doc__).parse_args()
    figures = asyncio.run(_run(args.url, args.home.resolve(), _products(args.data)))
    save("chaos", figures)
    return 0 if _is_complete(figures) else 1


def _products(folder: Path) -> list[Product]:
    """Return products for each of the three models in a mixed order, the same each time."""
    data = dataset(folder)
    per_model = JOBS // 3
    products = [
        product
        for model in ("text", "image", "fusion")
        for product in products_of(rows_of(data, model).head(per_model), model)
    ]
    while len(products) < JOBS:
        products.append(products[len(products) % per_model])
    random.Random(0).shuffle(products)
    return products


async def _run(url: str, home: Path, products: list[Product]) -> dict[str, Any]:
    async with Client(url) as client:
        started = time.perf_counter()
        killing = asyncio.create_task(_kill_all(client, home))
        jobs = await in_flight(32, products, client.submit)
        print(f"{len(jobs)} jobs submitted in {time.perf_counter() - started:.1f} s", flush=True)
        finals = await asyncio.gather(*(client.final(job["id"]) for job in jobs))
        print(f"last job final after {time.perf_counter() - started:.1f} s", flush=True)
        kills = await killing
        # Every queue is empty only after the redelivered messages have been handled as well.
        left = await _drained(client)
        again = await in_flight(16, [job["id"] for job in jobs], client.final)
    return {
        "jobs": len(jobs),
        "seconds": time.perf_counter() - started,
        "killed": kills,
        "statuses": Counter(job["status"] for job in finals),
        "degraded": sum(bool(job["result"] and job["result"]["degraded"]) for job in finals),
        "changed_after_final": sum(a != b for a, b in zip(finals, again, strict=True)),
        "left_in_queues": left,
        **_rows(home, [job["id"] for job in jobs], products),
    }


async def _kill_all(client: Client, home: Path) -> list[dict[str, Any]]:
    """Kill each victim in turn and return the number of unfinished jobs at each moment."""
    kills = []
    for name in VICTIMS:
        while not (unfinished := (await client.get("/v1/queues"))["jobs_queued"]):
            await asyncio.sleep(0.02)
        kills.append({"unfinished": unfinished} | await kill(home, name))
    return kills


async def kill(home: Path, name: str) -> dict[str, Any]:
    """Kill a process, wait until it has restarted, and pause while it takes messages."""
    victim = instance_processes(home)[name]
    victim.kill()
    started = time.perf_counter()
    while (found := instance_processes(home).get(name)) is None or found.pid == victim.pid:
        if time.perf_counter() - started > RESTART_SECONDS:
            raise SystemExit(f"{name} did not restart within {RESTART_SECONDS:.0f} s")
        await asyncio.sleep(0.1)
    seconds = time.perf_counter() - started
    print(f"killed {name} ({victim.pid}); restarted as {found.pid} in {seconds:.1f} s", flush=True)
    await asyncio.sleep(PAUSE_SECONDS)
    return {"process": name, "back_after_seconds": seconds}


async def _drained(client: Client) -> int:
    """Wait until all queues are empty; return the number of messages left at the deadline."""
    deadline = time.perf_counter() + DRAIN_SECONDS
    while True:
        queues = await client.get("/v1/queues")
        left = sum(queue["waiting"] + queue["running"] for queue in queues["items"])
        if left == 0 or time.perf_counter() > deadline:
            return int(left)
        await asyncio.sleep(0.5)


def _rows(home: Path, ids: list[str], products: list[Product]) -> dict[str, Any]:
    """Count jobs, their scores by modality and dead letters in the database."""
    expected = Counter[str]()
    for product in products:
        expected.update({"text": product.model != "image", "image": product.model != "text"})
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
        dead_letters = connection.exec_driver_sql("SELECT count(*) FROM dead_letters").scalar_one()
    engine.dispose()
    return {
        "rows": rows,
        "scores": counted,
        "scores_expected": dict(expected),
        "dead_letters": dead_letters,
    }


def _is_complete(figures: dict[str, Any]) -> bool:
    checks = {
        "every job is done": figures["statuses"] == {"done": figures["jobs"]},
        "each job has one row": figures["rows"] == figures["jobs"],
        "each requested modality has one score": figures["scores"] == figures["scores_expected"],
        "no job is degraded": figures["degraded"] == 0,
        "no job changed after it was final": figures["changed_after_final"] == 0,
        "every queue is empty": figures["left_in_queues"] == 0,
        "there is no dead letter": figures["dead_letters"] == 0,
    }
    return all_hold(checks)


if __name__ == "__main__":
    run_command(main)
