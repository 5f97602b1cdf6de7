"""A release promoted, and rolled back, while 50 jobs arrive each second.

    make promotion DATA=folder

The other release is a copy of the champion with another figure, registered for this; at the end
the first one serves again. No job may be lost, and no answer may be made of two releases.
"""

import argparse
import asyncio
import shutil
import sys
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

from infra.acceptance.client import Client, Product, in_flight, save
from infra.acceptance.products import dataset, products_of, rows_of
from infra.embedded.settings import EmbeddedSettings
from shared.inference.releases.registry import Releases
from shared.settings import ReleaseSettings

JOBS_PER_SECOND = 50
SECONDS, PROMOTE_AT, ROLL_BACK_AT = 40.0, 10.0, 25.0
#: One job in so many has an image as well: an image costs a hundred times a title.
IMAGE_EVERY = 50
#: Jobs sent within this time after a switch are looked at to see when it took effect.
WINDOW = ROLL_BACK_AT - PROMOTE_AT
READY = ("first_worker_ready", "every_worker_ready")
LOOK_SECONDS = 0.1
#: Workers of these stations load models.
STATIONS = ("text.", "image.")


@dataclass
class Switch:
    """Observations after a promotion, in seconds after the call began."""

    version: str
    called_at: float
    answered: float
    loaded_by: dict[str, float] = field(default_factory=dict)
    workers: set[str] = field(default_factory=set)


def main() -> int:
    """Send, switch, count; returns the exit code."""
    embedded = EmbeddedSettings()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=embedded.home)
    parser.add_argument("--mlflow", default=embedded.mlflow_url)
    given = parser.parse_args()
    home = given.home.resolve()
    registry = Releases(ReleaseSettings(mlflow_url=given.mlflow, cache=home / "releases"))
    old, new = _register_copy(registry)
    print(f"release {old} serves, release {new} is the copy", flush=True)
    figures = asyncio.run(_run(given.url, home, _products(given.data), old, new))
    save("promotion", figures)
    return 0 if _is_whole(figures) else 1


def _register_copy(registry: Releases) -> tuple[str, str]:
    champion = registry.champion()
    if champion is None:
        raise SystemExit("No release serves: make run")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(registry.folder(champion), Path(folder) / "copy"))
        manifest = registry.manifest(champion)
        better = {name: value + 0.01 for name, value in manifest.figures.items() if "_f1" in name}
        changed = {"name": f"{manifest.name}-copy", "figures": {**manifest.figures, **better}}
        manifest.model_copy(update=changed).write(copy)
        description = f"Release {champion} with other figures, to measure a promotion"
        return champion, registry.register(copy, description=description)


def _products(folder: Path) -> list[Product]:
    """Titles, and here and there an image; the same each time."""
    data = dataset(folder)
    amount = int(SECONDS * JOBS_PER_SECOND)
    share_with_image = products_of(rows_of(data, "fusion").head(amount // IMAGE_EVERY), "fusion")
    titles = products_of(rows_of(data, "text").head(amount), "text")
    return [
        share_with_image[(number // IMAGE_EVERY) % len(share_with_image)]
        if number % IMAGE_EVERY == 0
        else titles[number % len(titles)]
        for number in range(amount)
    ]


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
        "switches": [_seen(switch, started, finals) for switch in switches],
        **_rows(home, ids),
    }


async def _send(
    client: Client, products: Sequence[Product], started: float
) -> list[dict[str, Any]]:
    """Send at an even pace, whether or not answers come."""
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
        answer = await client.post(path, {"reason": "to measure a promotion"})
        if answer["version"] != version:
            raise SystemExit(f"Expected release {version} to serve. Received: {answer}")
        switches.append(Switch(version, called, time.perf_counter() - called))
        print(f"{path} after {called - started:.1f} s", flush=True)


async def _watch(client: Client, switches: list[Switch]) -> None:
    """Note when each worker process has the newest champion ready."""
    while True:
        workers = (await client.get("/v1/queues"))["workers"]
        looked = time.perf_counter()
        for worker in workers:
            if not any(queue.startswith(STATIONS) for queue in worker["queues"]):
                continue
            for switch in switches[-1:]:
                switch.workers.add(worker["name"])
                if switch.version in worker["releases"]:
                    switch.loaded_by.setdefault(worker["name"], looked - switch.called_at)
        await asyncio.sleep(LOOK_SECONDS)


def _seen(switch: Switch, started: float, finals: Sequence[dict[str, Any]]) -> dict[str, Any]:
    # The clocks of jobs and of this process meet at the moment of the call.
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
        "call_took": switch.answered,
        "workers": len(switch.workers),
        "first_worker_ready": min(ready, default=None),
        "every_worker_ready": max(ready) if is_everywhere else None,
        "first_job_given_it": min(
            (created for created, _, release in window if release == switch.version), default=None
        ),
        "last_job_given_the_other": max(
            (created for created, _, release in window if release != switch.version), default=0.0
        ),
        "last_answer_of_the_other": max(
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
    """Look into the database: each job once, its scores all of its own release."""
    engine = sqlalchemy.create_engine(f"sqlite:///{home / 'rayon.db'}")
    ids_in: Any = sqlalchemy.bindparam("ids", list(ids), expanding=True)
    questions = {
        "rows": "SELECT count(*) FROM jobs WHERE id IN :ids",
        "scores": "SELECT count(*) FROM scores WHERE job_id IN :ids",
        "scores_of_another_release": "SELECT count(*) FROM scores JOIN jobs ON jobs.id = job_id "
        "WHERE job_id IN :ids AND scores.release != jobs.release",
    }
    with engine.connect() as connection:
        found = {
            name: connection.execute(sqlalchemy.text(query).bindparams(ids_in)).scalar_one()
            for name, query in questions.items()
        }
    engine.dispose()
    return found


def _is_whole(figures: dict[str, Any]) -> bool:
    sent = figures["sent"]
    checks = {
        "every job accepted": figures["accepted"] == sent,
        "every job done, none lost": figures["statuses"] == {"done": sent},
        "each has one row": figures["rows"] == sent,
        "none degraded": figures["degraded"] == 0,
        "none changed after its end": figures["changed_after_final"] == 0,
        "both releases answered": len(figures["by_release"]) == 2,
        "no answer mixes releases": figures["scores_of_another_release"] == 0,
        "every worker took both over": all(
            switch["every_worker_ready"] is not None for switch in figures["switches"]
        ),
    }
    for name, holds in checks.items():
        print(f"{'yes' if holds else 'NO':<4}{name}")
    for switch in figures["switches"]:
        shown = {name: value for name, value in switch.items() if value is not None}
        print("release {version}: call {call_took:.2f} s".format(**shown), end="")
        for name in (*READY, "last_job_given_the_other", "last_answer_of_the_other"):
            print(f", {name.replace('_', ' ')} {shown.get(name, float('nan')):.1f} s", end="")
        print()
    return all(checks.values())


if __name__ == "__main__":
    sys.exit(main())
