"""Catalogs of the running system under twenty injected faults.

    make catalogs DATA=folder

Each run sends a catalog of texts and images and injects one fault at a random moment: it kills a
process with SIGKILL, flushes Redis, restarts PostgreSQL if the system uses it, or aborts an upload.
Then it waits for the catalog. At the end every row must have exactly one result: no row is lost or
duplicated, and every catalog has ended.
"""

import asyncio
import os
import random
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import redis
import sqlalchemy

from infra.acceptance.client import Client, save
from infra.acceptance.products import dataset, rows_of
from infra.embedded.strays import instance_processes
from tests.bench.arguments import embedded_parser
from tests.bench.catalog import Files, files_of, final_catalog, results_of
from tests.bench.commands import run_command
from tests.bench.faults.chaos import kill

TEXTS, IMAGES = 1_500, 24
PROCESSES = (
    "gateway",
    "feeder",
    "scheduler",
    "text-catalog",
    "image-catalog",
    "fusion-catalog",
    "redis",
)
#: Latest moment of the fault after the start of the upload.
LATEST_SECONDS = 4.0


Fault = Callable[[Client], Awaitable[object]]


def main() -> int:
    """Inject the faults, count the rows and return the exit code."""
    parser = embedded_parser(__doc__)
    parser.add_argument(
        "--runs", type=int, default=20, help="number of catalogs (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of faults and moments (default: %(default)s)"
    )
    args = parser.parse_args()
    data = dataset(args.data)
    texts = rows_of(data, "text").head(TEXTS)
    images = rows_of(data, "fusion").head(IMAGES)
    chaos = Chaos(args.url, args.home.resolve(), random.Random(args.seed))
    figures = asyncio.run(chaos.run(args.runs, texts, images))
    save("catalog-chaos", figures)
    return 0 if _is_complete(figures) else 1


@dataclass
class Chaos:
    """Fault injection into the embedded system of one home."""

    url: str
    home: Path
    chance: random.Random

    async def run(self, runs: int, texts: pd.DataFrame, images: pd.DataFrame) -> dict[str, Any]:
        """Send a number of catalogs and inject one fault into each."""
        faults = self._faults()
        # Each fault occurs once before any is repeated.
        chosen = [*self.chance.sample(sorted(faults), len(faults))]
        chosen += self.chance.choices(sorted(faults), k=max(0, runs - len(chosen)))
        found = []
        async with Client(self.url) as client:
            for number, name in enumerate(chosen[:runs], start=1):
                files = files_of(texts, images, salt=os.urandom(8))
                found.append(await self._run_one(client, files, name, faults[name]))
                print(f"{number:>2}/{runs}  {found[-1]}", flush=True)
        return {"rows_each": len(texts) + len(images), "runs": found, **_totals(found)}

    def _faults(self) -> dict[str, Fault]:
        faults: dict[str, Fault] = {
            f"kill {name}": lambda _client, name=name: kill(self.home, name)  # type: ignore[misc]
            for name in PROCESSES
        }
        faults |= {
            "flush redis": self._flush_redis,
            "abort an upload": self._abort_upload,
            "kill gateway during an upload": self._kill_gateway_during_upload,
        }
        if self._database.startswith("postgresql"):
            faults["restart postgresql"] = self._restart_postgresql
        return faults

    async def _run_one(
        self, client: Client, files: Files, name: str, fault: Fault
    ) -> dict[str, Any]:
        key, started = os.urandom(8).hex(), time.perf_counter()
        moment = self.chance.uniform(0, LATEST_SECONDS)
        injection = asyncio.create_task(_later(moment, fault, client))
        await client.upload(files.form, key)
        await injection
        # A second upload with the same key must return the same catalog, whatever the fault.
        again = await client.upload(files.form, key)
        catalog = await final_catalog(client, again["id"])
        rows = await results_of(client, catalog["id"])
        return {
            "fault": name,
            "after_seconds": round(moment, 2),
            "seconds": round(time.perf_counter() - started, 1),
            "status": catalog["status"],
            "rows": len(rows),
            "unanswered": sum(row["status"] != "done" for row in rows),
            "degraded": sum(bool(row["degraded"]) for row in rows),
            **self._database_counts(catalog["id"], key),
        }

    def _database_counts(self, catalog_id: str, key: str) -> dict[str, int]:
        engine = sqlalchemy.create_engine(self._database)
        queries = {
            "jobs": "SELECT count(*) FROM jobs WHERE catalog_id = :id",
            "scores": "SELECT count(*) FROM scores JOIN jobs ON jobs.id = scores.job_id "
            "WHERE catalog_id = :id",
            "catalogs": "SELECT count(*) FROM catalogs WHERE idempotency_key = :key",
            "dead_letters": "SELECT count(*) FROM dead_letters",
        }
        parameters = {"id": catalog_id, "key": key}
        with engine.connect() as connection:
            return {
                name: connection.execute(sqlalchemy.text(query), parameters).scalar_one()
                for name, query in queries.items()
            }

    async def _flush_redis(self, _client: Client) -> None:
        with redis.Redis.from_url(self._setting("RAYON_BROKER_URL")) as client:
            client.flushall()

    async def _restart_postgresql(self, _client: Client) -> None:
        """Restart PostgreSQL in immediate mode: every connection breaks and the log is replayed."""
        engine = sqlalchemy.create_engine(self._database)
        with engine.connect() as connection:
            folder = Path(connection.execute(sqlalchemy.text("SHOW data_directory")).scalar_one())
        engine.dispose()
        server = int((folder / "postmaster.pid").read_text().splitlines()[0])
        control = Path(f"/proc/{server}/exe").resolve().with_name("pg_ctl")
        owner = folder.stat()
        command = [str(control), "restart", "-D", str(folder), "-m", "immediate", "-w"]

        def restart() -> None:
            # The server keeps inherited output streams open, so it must not inherit any.
            subprocess.run(
                command,
                user=owner.st_uid,
                group=owner.st_gid,
                cwd=folder,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        await asyncio.to_thread(restart)

    @cached_property
    def _database(self) -> str:
        return self._setting("RAYON_DATABASE_URL")

    def _setting(self, name: str) -> str:
        return instance_processes(self.home)["scheduler"].environ()[name]

    async def _abort_upload(self, client: Client) -> None:
        """Start an upload and abort it; nothing of it may be kept."""
        before = len((await client.get("/v1/catalogs", limit=200))["items"])
        await self._send_partly(client)
        after = len((await client.get("/v1/catalogs", limit=200))["items"])
        if after != before and after < 200:
            raise SystemExit(
                f"Expected {before} catalogs after an aborted upload. Received: {after}"
            )

    async def _kill_gateway_during_upload(self, client: Client) -> None:
        await asyncio.gather(
            self._send_partly(client), _later(1.0, lambda _: kill(self.home, "gateway"), client)
        )

    async def _send_partly(self, client: Client) -> None:
        def pieces() -> Iterator[bytes]:
            yield b'--cut\r\nContent-Disposition: form-data; name="products"; filename="p.csv"\r\n'
            yield b"\r\ndesignation\r\n"
            for _ in range(40):
                time.sleep(0.05)
                yield b"a title\r\n" * 1_000
            raise ConnectionAbortedError

        def send() -> None:
            headers = {**client.bearer, "Content-Type": "multipart/form-data; boundary=cut"}
            try:
                httpx.post(f"{self.url}/v1/catalogs", content=pieces(), headers=headers)
            except (httpx.TransportError, ConnectionAbortedError):
                return

        await asyncio.to_thread(send)


async def _later(seconds: float, fault: Fault, client: Client) -> None:
    await asyncio.sleep(seconds)
    await fault(client)


def _totals(runs: list[dict[str, Any]]) -> dict[str, int]:
    expected = TEXTS + IMAGES
    return {
        "rows_lost": sum(run["unanswered"] + expected - min(expected, run["rows"]) for run in runs),
        "rows_duplicated": sum(max(0, run["jobs"] - expected) for run in runs)
        + sum(max(0, run["scores"] - expected - IMAGES) for run in runs),
        "catalogs_duplicated": sum(run["catalogs"] != 1 for run in runs),
        "never_ended": sum(run["status"] != "finished" for run in runs),
        "rows_degraded": sum(run["degraded"] for run in runs),
        "dead_letters": runs[-1]["dead_letters"],
    }


def _is_complete(figures: dict[str, Any]) -> bool:
    names = ("rows_lost", "rows_duplicated", "catalogs_duplicated", "never_ended", "rows_degraded")
    for name in (*names, "dead_letters"):
        print(f"{figures[name]:>6}  {name.replace('_', ' ')}")
    return not any(figures[name] for name in names)


if __name__ == "__main__":
    run_command(main)
