"""Steady load of a soak: jobs with and without images, catalogs and a bare endpoint beside them."""

import asyncio
import csv
import io
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx

from infra.acceptance.client import Connections
from tests.bench.attacks.honest import photo

#: A job without an answer after this time is an error.
ANSWER_SECONDS = 120.0
#: Jobs that wait at the same time; further ones are not sent, and counted.
WAITING = 3_000
BARE_SECONDS = 0.5
WORDS = (
    "piscine gonflable ronde enfant lampe bureau livre roman poche jeu console figurine carte "
    "chaise jardin coussin housse table basse bois velo casque tente lit bebe poussette peluche "
    "puzzle aquarium pompe filtre perceuse batterie cahier stylo reveil montre sac tapis"
)


@dataclass
class Minute:
    """Observations of one minute: seconds of the requests by kind, and counted outcomes."""

    text: list[float] = field(default_factory=list)
    image: list[float] = field(default_factory=list)
    accept: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)


class Load:
    """Client that sends jobs at a steady rate until it is stopped.

    Args:
        url: Address of the system.
        key: API key.
        bare: Address of the bare endpoint.
        rate: Jobs per second, those with images included.
        images: Jobs with an image per second.
    """

    def __init__(self, url: str, key: str, bare: str, rate: float, images: float) -> None:
        self.minute = Minute()
        self._http, self._bare = Connections(url), Connections(bare)
        self._headers = {"X-API-Key": key}
        self._rate, self._image_every = rate, round(rate / images) if images else 0
        self._random = random.Random(0)
        self._tasks: set[asyncio.Task[None]] = set()

    def turn(self) -> Minute:
        """Return the observations of the minute that ends, and begin the next one."""
        ended, self.minute = self.minute, Minute()
        return ended

    async def run(self) -> None:
        """Send jobs; each is due by the clock, so that a stall delays those after it too."""
        beside = asyncio.create_task(self._ask_bare())
        started = time.monotonic()
        try:
            for number in itertools.count():
                due = started + number / self._rate
                await asyncio.sleep(due - time.monotonic())
                has_image = bool(self._image_every) and number % self._image_every == 0
                self._begin(due, has_image)
        finally:
            beside.cancel()

    async def catalog(self, rows: int) -> None:
        """Send a catalog of titles."""
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["designation", "description", "image"])
        writer.writerows([self._title(), "", ""] for _ in range(rows))
        files = {"products": ("p.csv", table.getvalue().encode())}
        await self._counted(
            "catalog",
            lambda: self._http.request("POST", "/v1/catalogs", headers=self._headers, files=files),
        )

    async def finish(self, seconds: float) -> None:
        """Wait for the jobs that are on the way, then close the connections."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()
        await self._bare.aclose()

    def _begin(self, due: float, has_image: bool) -> None:
        if len(self._tasks) >= WAITING:
            self.minute.outcomes["not sent"] += 1
            return
        task = asyncio.create_task(self._job(due, has_image))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _job(self, due: float, has_image: bool) -> None:
        form = {"designation": self._title(), "model": "fusion" if has_image else "text"}
        files = {"image": ("p.jpg", photo(), "image/jpeg")} if has_image else None
        job = await self._counted(
            "job",
            lambda: self._http.request(
                "POST", "/v1/jobs", headers=self._headers, data=form, files=files
            ),
        )
        if job is None:
            return
        self.minute.accept.append(time.monotonic() - due)
        status = await self._final(job["id"])
        self.minute.outcomes[status] += 1
        if status == "done":
            kind = self.minute.image if has_image else self.minute.text
            kind.append(time.monotonic() - due)

    async def _final(self, job_id: str) -> str:
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = await self._http.request(
                    "GET", f"/v1/jobs/{job_id}", headers=self._headers, params={"wait": 30}
                )
                status = str(answer.json()["status"])
            except (httpx.HTTPError, KeyError, ValueError):
                self.minute.outcomes["read errors"] += 1
                await asyncio.sleep(1)
                continue
            if status != "queued":
                return status
        return "no answer"

    async def _counted(
        self, kind: str, request: Callable[[], Coroutine[Any, Any, httpx.Response]]
    ) -> dict[str, Any] | None:
        try:
            answer = await request()
        except httpx.HTTPError as error:
            self.minute.outcomes[f"{kind}: {type(error).__name__}"] += 1
            return None
        self.minute.outcomes[f"{kind}: {answer.status_code}"] += 1
        accepted: dict[str, Any] | None = answer.json() if answer.status_code == 202 else None
        return accepted

    async def _ask_bare(self) -> None:
        while True:
            started = time.monotonic()
            try:
                await self._bare.request("GET", "/")
                self.minute.bare.append(time.monotonic() - started)
            except httpx.HTTPError:
                self.minute.outcomes["bare errors"] += 1
            await asyncio.sleep(BARE_SECONDS)

    def _title(self) -> str:
        words = self._random.choices(WORDS.split(), k=self._random.randint(3, 40))
        return f"{' '.join(words)} {self._random.randrange(10**9)}"
