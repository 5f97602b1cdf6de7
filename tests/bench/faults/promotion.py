"""Promotion and rollback of a release while 50 jobs per second arrive.

    make promotion DATA=folder

Registers a copy of the champion with higher figures and promotes it; after the rollback the first
release serves again. No job may be lost, and no result may combine scores of two releases.
"""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy
from pydantic import SecretStr

from infra.acceptance.client import Client, Product, in_flight, save
from infra.embedded.settings import EmbeddedSettings
from shared.inference.releases.registry import Releases
from shared.settings import ReleaseSettings
from tests.bench.arguments import embedded_parser
from tests.bench.commands import run_command
from tests.bench.faults.checks import all_hold
from tests.bench.faults.products import titles_with_some_images

JOBS_PER_SECOND = 50
SECONDS, PROMOTE_AT, ROLL_BACK_AT = 40.0, 10.0, 25.0
#: Jobs sent within this time after a switch show when it took effect.
WINDOW = ROLL_BACK_AT - PROMOTE_AT
READY = ("first_worker_ready", "every_worker_ready")
POLL_SECONDS = 0.1
#: Prefixes of the queues whose workers load models.
MODEL_QUEUES = ("text.", "image.")


@dataclass
class Switch:
    """Observations of a promotion or rollback.

    Attributes:
        called_at: Clock at the start of the call.
        call_seconds: Duration of the call.
        loaded_by: Seconds from the start of the call until each worker had the release ready.
        workers: Names of the workers that load models.
    """

    version: str
    called_at: float
    call_seconds: float
    loaded_by: dict[str, float] = field(default_factory=dict)
    workers: set[str] = field(default_factory=set)


def main() -> int:
    """Send jobs, switch the release twice, count the jobs and return the exit code."""
    parser = embedded_parser(__doc__)
    parser.add_argument(
        "--mlflow",
        default=EmbeddedSettings().mlflow_url,
        help="address of MLflow (default: %(default)s)",
    )
    args = parser.parse_args()
    home = args.home.resolve()
    products = titles_with_some_images(args.data, int(SECONDS * JOBS_PER_SECOND))
    token = SecretStr((home / "secrets" / "registry_token").read_text())
    settings = ReleaseSettings(mlflow_url=args.mlflow, token=token, cache=home / "releases")
    registry = Releases(settings)
    old, new = _register_copy(registry)
    print(f"release {old} serves, release {new} is the copy", flush=True)
    figures = asyncio.run(_run(args.url, home, products, old, new))
    save("promotion", figures)
    return 0 if _is_complete(figures) else 1


def _register_copy(registry: Releases) -> tuple[str, str]:
    champion = registry.champion()
    if champion is None:
        raise SystemExit("Expected a champion in the registry. Received: none; start with make run")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(registry.folder(champion), Path(folder) / "copy"))
        manifest = registry.manifest(champion)
        higher = {name: value + 0.01 for name, value in manifest.figures.items() if "_f1" in name}
        changed = {"name": f"{manifest.name}-copy", "figures": {**manifest.figures, **higher}}
        manifest.model_copy(update=changed).write(copy)
        description = f"Copy of release {champion} with higher figures, to measure a promotion"
        return champion, registry.register(copy, description=description)


async def _run(
    url: str, home: Path, products: Sequence[Product], old: str, new: str
) -> dict[str, Any]:
    async with Client(url) as client:
        switches: list[Switch] = []
        started = time.perf_counter()
        watching = asyncio.create_task(_watch(client, switches))
        switching = asyncio.create_task(_switch(client, switches, started, old, new))
        jobs = await _send(client, products, started)
        sent_seconds = time.perf_counter() - started
        await switching
        finals = await in_flight(16, [job["id"] for job in jobs], client.final)
        watching.cancel()
        again = await in_flight(16, [job["id"] for job in jobs], client.final)
    ids = [job["id"] for job in jobs]
    return {
        "sent": len(products),
        "sent_seconds": sent_seconds,
        "accepted": len(set(ids)),
        "statuses": Counter(job["status"] for job in finals),
        "degraded": sum(bool(job["result"] and job["result"]["degraded"]) for job in finals),
        "changed_after_final": sum(a != b for a, b in zip(finals, again, strict=True)),
        "by_release": Counter(job["release"] for job in finals),
        "seconds_to_answer": _latency(finals),
        "switches": [_figures(switch, started, finals) for switch in switches],
        **_rows(home, ids),
    }


async def _send(
    client: Client, products: Sequence[Product], started: float
) -> list[dict[str, Any]]:
    """Send jobs at a steady rate, without waiting for responses."""
    sending = []
    for number, product in enumerate(products):
        await asyncio.sleep(started + number / JOBS_PER_SECOND - time.perf_counter())
        sending.append(asyncio.create_task(client.submit(product)))
    return list(await asyncio.gather(*sending))


async def _switch(
    client: Client, switches: list[Switch], started: float, old: str, new: str
) -> None:
    plan = (
        (PROMOTE_AT, new, f"/v1/releases/{new}/promote"),
        (ROLL_BACK_AT, old, "/v1/releases/rollback"),
    )
    for at, version, path in plan:
        await asyncio.sleep(started + at - time.perf_counter())
        called = time.perf_counter()
        answer = await client.post(path, {"reason": "Measurement of a promotion"})
        if answer["version"] != version:
            raise SystemExit(f"Expected release {version} as champion. Received: {answer}")
        switches.append(Switch(version, called, time.perf_counter() - called))
        print(f"{path} after {called - started:.1f} s", flush=True)


async def _watch(client: Client, switches: list[Switch]) -> None:
    """Record when each worker process has the current champion ready."""
    while True:
        workers = (await client.get("/v1/queues"))["workers"]
        polled_at = time.perf_counter()
        for worker in workers:
            if not any(queue.startswith(MODEL_QUEUES) for queue in worker["queues"]):
                continue
            for switch in switches[-1:]:
                switch.workers.add(worker["name"])
                if switch.version in worker["releases"]:
                    switch.loaded_by.setdefault(worker["name"], polled_at - switch.called_at)
        await asyncio.sleep(POLL_SECONDS)


def _figures(switch: Switch, started: float, finals: Sequence[dict[str, Any]]) -> dict[str, Any]:
    # Jobs have wall-clock times; this process measures with a monotonic clock.
    called = datetime.now().astimezone() - timedelta(seconds=time.perf_counter() - switch.called_at)
    window = [
        (created, (_moment(job["finished_at"]) - called).total_seconds(), job["release"])
        for job in finals
        if job["finished_at"]
        and 0 < (created := (_moment(job["created_at"]) - called).total_seconds()) < WINDOW
    ]
    ready = switch.loaded_by.values()
    is_everywhere = set(switch.loaded_by) == switch.workers
    return {
        "version": switch.version,
        "called_after_seconds": switch.called_at - started,
        "call_seconds": switch.call_seconds,
        "workers": len(switch.workers),
        "first_worker_ready": min(ready, default=None),
        "every_worker_ready": max(ready) if is_everywhere else None,
        "first_job_on_new_release": min(
            (created for created, _, release in window if release == switch.version), default=None
        ),
        "last_job_on_old_release": max(
            (created for created, _, release in window if release != switch.version), default=0.0
        ),
        "last_result_of_old_release": max(
            (finished for _, finished, release in window if release != switch.version), default=0.0
        ),
    }


def _latency(finals: Sequence[dict[str, Any]]) -> dict[str, float]:
    seconds = [
        (_moment(job["finished_at"]) - _moment(job["created_at"])).total_seconds()
        for job in finals
        if job["finished_at"]
    ]
    return {name: float(np.quantile(seconds, q)) for name, q in (("p50", 0.5), ("p95", 0.95))} | {
        "max": max(seconds)
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _rows(home: Path, ids: Sequence[str]) -> dict[str, Any]:
    """Count in the database the jobs, their scores and the scores of a different release."""
    engine = sqlalchemy.create_engine(f"sqlite:///{home / 'rayon.db'}")
    ids_in: Any = sqlalchemy.bindparam("ids", list(ids), expanding=True)
    queries = {
        "rows": "SELECT count(*) FROM jobs WHERE id IN :ids",
        "scores": "SELECT count(*) FROM scores WHERE job_id IN :ids",
        "scores_of_another_release": "SELECT count(*) FROM scores JOIN jobs ON jobs.id = job_id "
        "WHERE job_id IN :ids AND scores.release != jobs.release",
    }
    with engine.connect() as connection:
        found = {
            name: connection.execute(sqlalchemy.text(query).bindparams(ids_in)).scalar_one()
            for name, query in queries.items()
        }
    engine.dispose()
    return found


def _is_complete(figures: dict[str, Any]) -> bool:
    sent = figures["sent"]
    checks = {
        "every job was accepted": figures["accepted"] == sent,
        "every job is done": figures["statuses"] == {"done": sent},
        "each job has one row": figures["rows"] == sent,
        "no job is degraded": figures["degraded"] == 0,
        "no job changed after it was final": figures["changed_after_final"] == 0,
        "both releases classified jobs": len(figures["by_release"]) == 2,
        "no result combines two releases": figures["scores_of_another_release"] == 0,
        "every worker loaded both releases": all(
            switch["every_worker_ready"] is not None for switch in figures["switches"]
        ),
    }
    is_complete = all_hold(checks)
    for switch in figures["switches"]:
        shown = {name: value for name, value in switch.items() if value is not None}
        print("release {version}: call {call_seconds:.2f} s".format(**shown), end="")
        for name in (*READY, "last_job_on_old_release", "last_result_of_old_release"):
            print(f", {name.replace('_', ' ')} {shown.get(name, float('nan')):.1f} s", end="")
        print()
    return is_complete


if __name__ == "__main__":
    run_command(main)
