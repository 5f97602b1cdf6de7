"""The stream of products: window by window, with its reviews and its F1."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from shared.db.models import now, row_job_id
from shared.db.session import UnitOfWork
from tests.bench.catalog import final_catalog, results_of
from tests.bench.quality.recovery.shop import (
    DEADLINE_SECONDS,
    REVIEWED_RANDOM,
    REVIEWED_UNCERTAIN,
    Shop,
)
from trainer.monitoring.performance.answers import FUSION, Fusing, collect, reviewed
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.performance.reviews import Reviews
from trainer.monitoring.performance.weighted_f1 import measured_f1
from trainer.monitoring.settings import MonitorSettings

#: Longest wait for the measurement of a window, and time in which a response begins, in seconds.
MEASURED_SECONDS, RESPONSE_SECONDS = 60.0, 6.0


@dataclass
class Window:
    """A window of the stream, a day of the shop.

    Attributes:
        true: Weighted F1 of the answers.
        estimated: F1 that the monitor estimates without labels.
        labelled: F1 that the monitor measures from the reviews.
        labels: Labels of its reviews.
        refused: Answers to labels that were refused.
        moved: Kinds that drifted.
    """

    release: str
    products: int
    true: float
    estimated: float
    labelled: float
    labels: int
    refused: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)


@dataclass
class Stream:
    """Sends products to a shop, and has them reviewed, measured and responded to."""

    shop: Shop
    unit_of_work: UnitOfWork

    async def window(self, rows: pd.DataFrame) -> Window:
        """Send a window, and wait until nothing that follows from it goes on."""
        release = await self.shop.champion()
        measured = await self._measured(release)
        begins = now()
        catalog_id = await self._send(rows)
        period = Period(begins, now())
        codes = await self.shop.codes(release)
        truth = {
            row_job_id(catalog_id, number): int(code) for number, code in enumerate(rows["code"], 1)
        }
        # The monitor draws the sample of a day after its end; here, a window is a day.
        settings = MonitorSettings(
            reviews_random=REVIEWED_RANDOM, reviews_uncertain=REVIEWED_UNCERTAIN
        )
        Reviews(self.unit_of_work, settings).choose_day(period)
        labels, refused = self.shop.label(truth, codes)
        answers = [line["prdtypecode"] for line in await results_of(self.shop.client, catalog_id)]
        window = self._figures(release, period, codes)
        window.true = _f1(rows["code"].to_numpy(np.int64), answers)
        window.products, window.labels, window.refused = len(rows), labels, refused
        window.moved = await self._moved(release, measured)
        await self._settle()
        return window

    async def _send(self, rows: pd.DataFrame) -> str:
        table = rows[["designation", "description"]].to_csv(index=False).encode()
        key = os.urandom(8).hex()
        sent = await self.shop.client.upload({"products": ("p.csv", table)}, key)
        catalog = await final_catalog(self.shop.client, sent["id"])
        if catalog["counts"]["done"] != len(rows):
            raise SystemExit(f"Expected {len(rows)} answers. Received: {catalog['counts']}")
        return str(catalog["id"])

    def _figures(self, release: str, period: Period, codes: tuple[int, ...]) -> Window:
        with self.unit_of_work.reading() as session:
            fusing = Fusing(codes, None)
            expected = collect(session, period, release, fusing)[FUSION].expectation
            truth, answered, weights = reviewed(session, period, release).of(FUSION)
        labelled = measured_f1(truth, answered, weights).f1 if len(truth) else float("nan")
        estimated = expected.estimate(codes).f1
        return Window(release, 0, float("nan"), estimated, labelled, 0)

    async def _measured(self, release: str) -> list[dict[str, Any]]:
        items = (await self.shop.client.get("/v1/drift-windows", limit=200))["items"]
        return [window for window in items if window["release"] == release]

    async def _moved(self, release: str, before: list[dict[str, Any]]) -> list[str]:
        """Return the kinds that drifted in the window that is measured next."""
        deadline = time.monotonic() + MEASURED_SECONDS
        while time.monotonic() < deadline:
            found = await self._measured(release)
            if len(found) > len(before):
                return list(found[0]["moved"])
            await asyncio.sleep(0.5)
        return ["not measured"]

    async def _settle(self) -> None:
        """Wait until no alert is being answered with a training any more."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < RESPONSE_SECONDS:
            alerts = (await self.shop.client.get("/v1/drift-alerts", limit=200))["items"]
            if any(alert["status"] == "training" for alert in alerts):
                quiet_since = time.monotonic()
            if time.monotonic() > deadline:
                raise SystemExit(f"Expected an end of the training. Received: {alerts[0]}")
            await asyncio.sleep(0.5)


def _f1(codes: np.ndarray[Any, Any], answers: list[str]) -> float:
    answered = np.array([int(answer or -1) for answer in answers], np.int64)
    return float(f1_score(codes, answered, average="weighted", zero_division=0))
