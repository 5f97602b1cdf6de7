"""Catalogs while something breaks, twenty times, each time something else.

    make catalogs DATA=folder

Each run sends a catalog of texts and images and breaks one thing at a random moment: kills a
process with SIGKILL, empties Redis, restarts PostgreSQL if the system has one, or cuts the upload.
Then the same catalog is waited for. At the end every row must have its answer, once: none lost,
none doubled, no catalog that never ends.
"""

import argparse
import asyncio
import csv
import io
import os
import random
import subprocess
import sys
import time
import zipfile
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
from infra.embedded.settings import EmbeddedSettings
from infra.embedded.strays import instance_processes
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
#: The fault comes this long after the upload has begun, at the latest.
LATEST_SECONDS = 4.0
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Files:
    """One catalog as it is sent."""

    products: bytes
    images: bytes

    @property
    def form(self) -> dict[str, tuple[str, bytes]]:
        """The files of the multipart form."""
        return {"products": ("p.csv", self.products), "images": ("p.zip", self.images)}


def main() -> int:
    """Break and count; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=EmbeddedSettings().home)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = dataset(given.data)
    texts = rows_of(data, "text").head(TEXTS)
    images = rows_of(data, "fusion").head(IMAGES)
    chaos = Chaos(given.url, given.home.resolve(), random.Random(given.seed))
    figures = asyncio.run(chaos.run(given.runs, texts, images))
    save("catalog-chaos", figures)
    return 0 if _is_whole(figures) else 1


@dataclass
class Chaos:
    """Breaks the embedded system of one home."""

    url: str
    home: Path
    chance: random.Random

    async def run(self, runs: int, texts: pd.DataFrame, images: pd.DataFrame) -> dict[str, Any]:
        """Send as many catalogs, and break one thing during each."""
        faults = self._faults()
        # Each fault once, then by chance.
        chosen = [*self.chance.sample(sorted(faults), len(faults))]
        chosen += self.chance.choices(sorted(faults), k=max(0, runs - len(chosen)))
        found = []
        async with Client(self.url) as client:
            for number, name in enumerate(chosen[:runs], start=1):
                files = files_of(texts, images, salt=os.urandom(8))
                found.append(await self._one(client, files, name, faults[name]))
                print(f"{number:>2}/{runs}  {found[-1]}", flush=True)
        return {"rows_each": len(texts) + len(images), "runs": found, **_sums(found)}

    def _faults(self) -> dict[str, Callable[[Client], Awaitable[object]]]:
        faults: dict[str, Callable[[Client], Awaitable[object]]] = {
            f"kill {name}": lambda _client, name=name: kill(self.home, name)  # type: ignore[misc]
            for name in PROCESSES
        }
        faults |= {
            "flush redis": self._flush,
            "cut an upload": self._cut,
            "kill gateway in an upload": self._kill_uploading,
        }
        if self._database.startswith("postgresql"):
            faults["restart postgresql"] = self._restart_postgresql
        return faults

    async def _one(
        self,
        client: Client,
        files: Files,
        name: str,
        fault: Callable[[Client], Awaitable[object]],
    ) -> dict[str, Any]:
        key, started = os.urandom(8).hex(), time.perf_counter()
        moment = self.chance.uniform(0, LATEST_SECONDS)
        breaking = asyncio.create_task(_later(moment, fault, client))
        catalog = await client.upload(files.form, key)
        await breaking
        # The same again: it must be the same catalog, whatever broke.
        again = await client.upload(files.form, key)
        catalog = await final_catalog(client, again["id"])
        lines = list(csv.DictReader(io.StringIO(await client.text(results_path(catalog["id"])))))
        return {
            "fault": name,
            "after_seconds": round(moment, 2),
            "seconds": round(time.perf_counter() - started, 1),
            "status": catalog["status"],
            "rows": len(lines),
            "unanswered": sum(line["status"] != "done" for line in lines),
            "degraded": sum(bool(line["degraded"]) for line in lines),
            **self._counted(catalog["id"], key),
        }

    def _counted(self, catalog_id: str, key: str) -> dict[str, int]:
        engine = sqlalchemy.create_engine(self._database)
        queries = {
            "jobs": "SELECT count(*) FROM jobs WHERE catalog_id = :id",
            "scores": "SELECT count(*) FROM scores JOIN jobs ON jobs.id = scores.job_id "
            "WHERE catalog_id = :id",
            "catalogs": "SELECT count(*) FROM catalogs WHERE idempotency_key = :key",
            "dead_letters": "SELECT count(*) FROM dead_letters",
        }
        asked = {"id": catalog_id, "key": key}
        with engine.connect() as connection:
            return {
                name: connection.execute(sqlalchemy.text(query), asked).scalar_one()
                for name, query in queries.items()
            }

    async def _flush(self, _client: Client) -> None:
        with redis.Redis.from_url(self._setting("RAYON_BROKER_URL")) as client:
            client.flushall()

    async def _restart_postgresql(self, _client: Client) -> None:
        """Without its leave: every connection breaks and the log is replayed."""
        engine = sqlalchemy.create_engine(self._database)
        with engine.connect() as connection:
            folder = Path(connection.execute(sqlalchemy.text("SHOW data_directory")).scalar_one())
        engine.dispose()
        server = int((folder / "postmaster.pid").read_text().splitlines()[0])
        control = Path(f"/proc/{server}/exe").resolve().with_name("pg_ctl")
        owner = folder.stat()
        command = [str(control), "restart", "-D", str(folder), "-m", "immediate", "-w"]

        def restart() -> None:
            # The server keeps what it inherits open, so it inherits nothing.
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

    async def _cut(self, client: Client) -> None:
        """Begin an upload and break off: nothing of it may stay."""
        before = len((await client.get("/v1/catalogs", limit=200))["items"])
        await self._begin_upload(client)
        after = len((await client.get("/v1/catalogs", limit=200))["items"])
        if after != before and after < 200:
            raise SystemExit("An upload that was cut became a catalog")

    async def _kill_uploading(self, client: Client) -> None:
        await asyncio.gather(
            self._begin_upload(client), _later(1.0, lambda _: kill(self.home, "gateway"), client)
        )

    async def _begin_upload(self, client: Client) -> None:
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


async def _later(
    seconds: float, fault: Callable[[Client], Awaitable[object]], client: Client
) -> None:
    await asyncio.sleep(seconds)
    await fault(client)


async def final_catalog(client: Client, catalog_id: str) -> dict[str, Any]:
    """Wait for a catalog's end; one that never ends is returned as it is."""
    deadline = time.perf_counter() + PATIENCE_SECONDS
    while True:
        catalog = await client.get(f"/v1/catalogs/{catalog_id}", wait=10)
        is_over = catalog["status"] not in ("validating", "running")
        if is_over or time.perf_counter() > deadline:
            return catalog


def results_path(catalog_id: str) -> str:
    """Where a catalog's answers are."""
    return f"/v1/catalogs/{catalog_id}/results"


def files_of(texts: pd.DataFrame, images: pd.DataFrame, salt: bytes) -> Files:
    """Rows of texts, then rows with images; `salt` makes the images new."""
    table, archive = io.StringIO(), io.BytesIO()
    lines = csv.writer(table)
    lines.writerow(["designation", "description", "image"])
    with zipfile.ZipFile(archive, "w") as packed:
        for row in texts.itertuples():
            lines.writerow([row.designation, row.description, ""])
        for row in images.itertuples():
            path = Path(str(row.image))
            lines.writerow([row.designation, row.description, path.name])
            # Equal to the eye and yet another file: no worker has seen it.
            packed.writestr(path.name, path.read_bytes() + salt)
    return Files(table.getvalue().encode(), archive.getvalue())


def _sums(runs: list[dict[str, Any]]) -> dict[str, int]:
    wanted = TEXTS + IMAGES
    return {
        "rows_lost": sum(run["unanswered"] + wanted - min(wanted, run["rows"]) for run in runs),
        "rows_doubled": sum(max(0, run["jobs"] - wanted) for run in runs)
        + sum(max(0, run["scores"] - wanted - IMAGES) for run in runs),
        "catalogs_doubled": sum(run["catalogs"] != 1 for run in runs),
        "never_ended": sum(run["status"] != "finished" for run in runs),
        "rows_degraded": sum(run["degraded"] for run in runs),
        "dead_letters": runs[-1]["dead_letters"],
    }


def _is_whole(figures: dict[str, Any]) -> bool:
    names = ("rows_lost", "rows_doubled", "catalogs_doubled", "never_ended", "rows_degraded")
    for name in (*names, "dead_letters"):
        print(f"{figures[name]:>6}  {name.replace('_', ' ')}")
    return not any(figures[name] for name in names)


if __name__ == "__main__":
    sys.exit(main())
