"""The shop of the bench: its throw-away system, its first release and its reviewers."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from infra.acceptance.client import Client

#: Longest wait for a dataset, a training or a switch of releases.
DEADLINE_SECONDS = 1_200.0
DATASET = "shop"
#: Release that every system starts with.
STARTER = "1"
#: Reviewers of the shop, and answers that they label each day at random and for their doubt.
REVIEWERS, REVIEWED_RANDOM, REVIEWED_UNCERTAIN = 4, 50, 50
SETTINGS = {
    "RAYON_DRIFT_INTERVAL_SECONDS": "1",
    # A window is a day of the shop and takes a minute here, so nothing may depend on the clock.
    "RAYON_DRIFT_COOLDOWN_SECONDS": "0",
    "RAYON_MONITOR_INTERVAL_SECONDS": "1",
    "RAYON_MONITOR_TRAININGS_PER_WEEK": "20",
    "RAYON_MONITOR_DATASET": DATASET,
    # Three days of reviews.
    "RAYON_MONITOR_TRAIN_EVERY_LABELS": "300",
    "RAYON_TRAINER_LINEUP": "quick",
    "RAYON_TRAINER_OFFLINE": "true",
    "RAYON_TRAINER_PROMOTION": "automatic",
    "RAYON_WATCH_INTERVAL_SECONDS": "5",
    "RAYON_CATALOGS_TEXT_SLICE": "100",
}


@dataclass
class Shop:
    """A signed-in shop.

    Attributes:
        client: Its admin.
        address: Address of its system.
        passwords: Passwords of the reviewers by name.
    """

    client: Client
    address: str
    passwords: dict[str, str] = field(default_factory=dict)

    async def open(self, rows: pd.DataFrame) -> dict[str, Any]:
        """Store the first dataset, train on it, promote the release, and return its training."""
        await self._hire()
        table = rows[["designation", "description"]].assign(prdtypecode=rows["code"])
        files = {"products": ("p.csv", table.to_csv(index=False).encode())}
        await self.client.send("/v1/datasets", files, name=DATASET)
        await self.until(f"/v1/datasets/{DATASET}", is_checked)
        body = {"reason": "The first release of the shop", "dataset": DATASET}
        run = await self.client.post("/v1/training-runs", body)
        run = await self.until(f"/v1/training-runs/{run['id']}", is_over)
        if run["version"] is None:
            raise SystemExit(f"Expected a first release. Received: {run['message']}")
        # A release is watched, and rolled back if it is worse than the one before, the first time
        # that it serves. The starter release knows the rows of the stream: it was trained on them.
        for version in (run["version"], STARTER, run["version"]):
            await self._promote(version)
        return run

    async def champion(self) -> str:
        """Return the champion once new jobs get it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            for release in (await self.client.get("/v1/releases"))["items"]:
                if "champion" in release["aliases"] and release["serving"]:
                    return str(release["version"])
            await asyncio.sleep(0.5)
        raise SystemExit("Expected that the champion serves. Received: it does not")

    async def codes(self, release: str) -> tuple[int, ...]:
        """Return the codes of the categories of a release, in the order of its probabilities."""
        found = await self.client.get("/v1/categories", release=release)
        return tuple(one["prdtypecode"] for one in found["items"])

    def label(self, truth: Mapping[str, int], known: Sequence[int]) -> tuple[int, list[str]]:
        """Label the open reviews as the reviewers do; return their number and the refusals.

        Args:
            truth: True categories by job.
            known: Categories of the release that answered.
        """
        clients = [self._signed_in(name, password) for name, password in self.passwords.items()]
        labelled, refused = 0, []
        jobs = [one["job_id"] for one in _open_reviews(clients[0])]
        for client, job in zip(itertools.cycle(clients), jobs, strict=False):
            body: dict[str, Any] = {"prdtypecode": truth[job]}
            if truth[job] not in known:
                body["new_category"] = True
            answer = client.put(f"/v1/jobs/{job}/label", json=body)
            if answer.is_success:
                labelled += 1
            else:
                refused.append(f"{answer.status_code} {answer.json().get('detail')}")
        for client in clients:
            client.close()
        return labelled, refused

    async def until(self, path: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Poll a resource until a condition holds, and return it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition(found := await self.client.get(path)):
            if time.monotonic() > deadline:
                raise SystemExit(f"Not in {DEADLINE_SECONDS:.0f} s. Received from {path}: {found}")
            await asyncio.sleep(1)
        return found

    async def _hire(self) -> None:
        for number in range(1, REVIEWERS + 1):
            name, password = f"reviewer-{number}", secrets.token_urlsafe(18)
            made = await self.client.post("/v1/users", {"username": name, "role": "operator"})
            choice = {"code": made["one_time_code"]["code"], "new_password": password}
            sent = httpx.post(f"{self.address}/v1/password", json=choice, timeout=60)
            sent.raise_for_status()
            self.passwords[name] = password

    async def _promote(self, version: str) -> None:
        body = {"reason": "The first release of the shop"}
        await self.client.post(f"/v1/releases/{version}/promote", body)
        await self.champion()

    def _signed_in(self, name: str, password: str) -> httpx.Client:
        # Anew for each window: a token expires after a quarter of an hour.
        client = httpx.Client(base_url=self.address, timeout=60, trust_env=False)
        sent = client.post("/v1/token", data={"username": name, "password": password})
        sent.raise_for_status()
        client.headers["Authorization"] = f"Bearer {sent.json()['access_token']}"
        return client


def database_of(home: Path) -> str:
    """Return the address of the database of a throw-away system."""
    return f"sqlite:///{home / 'rayon.db'}"


def releases_of(home: Path) -> Path:
    """Return the folder in which a throw-away system keeps the releases that it has served."""
    return home / "releases"


def is_checked(dataset: dict[str, Any]) -> bool:
    """Return True if the newest version of a dataset is ready. Exits if its check failed."""
    status = dataset["versions"][0]["status"]
    if status == "failed":
        raise SystemExit(f"Expected a dataset. Received: {dataset['versions'][0]['message']}")
    return bool(status == "ready")


def is_over(run: dict[str, Any]) -> bool:
    """Return True if a training run has ended."""
    return run["status"] not in ("queued", "running")


def _open_reviews(client: httpx.Client) -> Iterator[dict[str, Any]]:
    found, cursor = [], None
    while True:
        query = {"labelled": "false", "limit": "200"} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/reviews", params=query).raise_for_status().json()
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return iter(found)
