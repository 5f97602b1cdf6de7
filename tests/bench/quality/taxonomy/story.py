"""The shop in a running system: upload, training, promotion, answers, a later category, report."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from infra.acceptance.client import Client
from shared.db.models import now
from tests.bench.catalog import final_catalog, results_of
from tests.bench.quality.recovery import shop as running
from tests.bench.quality.taxonomy.figures import (
    NO_ANSWER,
    Codes,
    TreeF1,
    category_f1,
    shop_weights,
    tree_f1,
)
from tests.bench.quality.taxonomy.shop import Leaf, Shop, truth_of

DATASET = running.DATASET
#: Test rows of a category, at least, and the share of its rows for training otherwise.
FEWEST_TESTED, TESTED_SHARE = 4, 0.25
#: Products of the later category that a person labels, and other products that are labelled too.
LATER_ROWS, OTHER_ROWS = 15, 85
#: Products of the later category that are classified before and after.
LATER_TESTED = 30
#: Wanted share of right answers among those that are accepted.
PRECISION = 0.95


@dataclass(frozen=True)
class Accepted:
    """Share of the products that a threshold accepts, and the share of them that is right."""

    share: float
    precision: float


@dataclass
class Story:
    """Stages of the system, in their order.

    Attributes:
        seconds: Duration of each stage, by its name.
        levels: Levels of the tree that the check of the dataset found.
        first: F1 of the first release, on all of its categories.
        accepted: Accepted answers by one threshold, and by a threshold for each category.
        again: F1 of the second release, on the categories of the first.
        later: F1 of the later category, before and after.
        taken: Share of the other products that the second release takes for the later category.
        report: Of the month: verdict, categories, F1 by labels and F1 estimated without labels.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    levels: list[dict[str, Any]] = field(default_factory=list)
    first: TreeF1 | None = None
    accepted: dict[str, Accepted] = field(default_factory=dict)
    again: TreeF1 | None = None
    later: tuple[float, float] = (0.0, 0.0)
    taken: float = 0.0
    report: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Measure a stage, and print its name and duration."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 1)
        print(f"  {stage}: {self.seconds[stage]:.1f} s", flush=True)


@dataclass(frozen=True)
class Rows:
    """Products of the shop.

    Attributes:
        first: Rows of the first dataset, without the later category.
        tested: Products to measure on, of all categories but the later one.
        later_tested: Products of the later category to measure on.
        labelled: Products that are labelled after the first release, some of the later category.
    """

    known: list[Leaf]
    later: Leaf
    first: pd.DataFrame
    tested: pd.DataFrame
    later_tested: pd.DataFrame
    labelled: pd.DataFrame

    @classmethod
    def of(cls, shop: Shop, seed: int) -> "Rows":
        """Draw the products; the last category of the tree is the later one."""
        *known, later = shop.leaves
        random = np.random.default_rng(seed)
        shares = np.array([leaf.rows for leaf in known], np.float64)
        drawn = random.multinomial(OTHER_ROWS, shares / shares.sum())
        others = {leaf.code: int(count) for leaf, count in zip(known, drawn, strict=True)}
        return cls(
            known,
            later,
            shop.products({leaf.code: leaf.rows for leaf in known}),
            shop.products({leaf.code: _tested(leaf) for leaf in known}),
            shop.products({later.code: LATER_TESTED}),
            shop.products(others | {later.code: LATER_ROWS}),
        )


def _tested(leaf: Leaf) -> int:
    return max(FEWEST_TESTED, round(leaf.rows * TESTED_SHARE))


class Teller:
    """Tells the story of one shop in one system.

    Args:
        story: Is filled.
        rows: Products of the shop.
        client: Admin of the system.
        address: Address of the system.
    """

    def __init__(self, story: Story, rows: Rows, client: Client, address: str) -> None:
        self._story, self._rows, self._client = story, rows, client
        self._system = running.Shop(client, address)

    async def tell(self) -> None:
        """Go through all stages."""
        story, rows = self._story, self._rows
        with story.timed("upload"):
            await self._upload()
        with story.timed("train"):
            release = await self._train("The first release")
        with story.timed("promote"):
            await self._promote(release)
        with story.timed("classify"):
            catalog, lines = await self._classify(rows.tested)
        answers = _codes(lines)
        story.first = tree_f1(truth_of(rows.tested), answers, rows.known)
        await self._accept(catalog, lines)
        with story.timed("label with a new category"):
            await self._label()
        with story.timed("train again"):
            release = await self._train("A category was added")
        _, before = await self._classify(rows.later_tested)
        with story.timed("promote again"):
            await self._promote(release)
        with story.timed("classify again"):
            _, again = await self._classify(rows.tested)
            _, after = await self._classify(rows.later_tested)
        story.again = tree_f1(truth_of(rows.tested), _codes(again), rows.known)
        story.later = (self._later_f1(answers, before), self._later_f1(_codes(again), after))
        story.taken = float((_codes(again) == rows.later.code).mean())
        with story.timed("report"):
            await self._report()

    async def _upload(self) -> None:
        files = {"products": ("products.csv", self._table(self._rows.first))}
        files["categories"] = ("categories.csv", _names(self._rows.known))
        await self._client.send("/v1/datasets", files, name=DATASET)
        found = await self._system.until(f"/v1/datasets/{DATASET}", running.is_checked)
        self._story.levels = found["versions"][0]["report"]["levels"]

    async def _train(self, reason: str) -> str:
        run = await self._client.post("/v1/training-runs", {"reason": reason, "dataset": DATASET})
        run = await self._system.until(f"/v1/training-runs/{run['id']}", running.is_over)
        print(f"  {run['message']}", flush=True)
        if run["version"] is None:
            raise SystemExit(f"Expected a release. Received: {run['message']}")
        return str(run["version"])

    async def _promote(self, release: str) -> None:
        body = {"reason": "The next release of the shop"}
        if await self._system.champion() != release:
            await self._client.post(f"/v1/releases/{release}/promote", body)
        if (serving := await self._system.champion()) != release:
            raise SystemExit(f"Expected release {release}. Received: {serving}")

    async def _classify(self, rows: pd.DataFrame) -> tuple[str, list[dict[str, str]]]:
        """Send a catalog; return its ID and its results in the order of the rows."""
        table = rows[["designation", "description"]].to_csv(index=False).encode()
        sent = await self._client.upload({"products": ("p.csv", table)}, os.urandom(8).hex())
        catalog = await final_catalog(self._client, sent["id"])
        if catalog["counts"]["done"] != len(rows):
            raise SystemExit(f"Expected {len(rows)} answers. Received: {catalog['counts']}")
        return str(sent["id"]), await results_of(self._client, sent["id"])

    async def _accept(self, catalog: str, lines: list[dict[str, str]]) -> None:
        for name, by_category in (("one threshold", False), ("by category", True)):
            query = {"target": PRECISION, "by_category": by_category}
            found = await self._client.get(f"/v1/catalogs/{catalog}/precision", **query)
            single = found["threshold"]
            thresholds = {one["prdtypecode"]: one["threshold"] for one in found["categories"]}
            self._story.accepted[name] = accepted(
                lines,
                truth_of(self._rows.tested),
                shop_weights(truth_of(self._rows.tested), self._rows.known),
                thresholds if by_category else single,
            )

    async def _label(self) -> None:
        """Label products, some with a category that no release knows; add them to the dataset."""
        rows = self._rows
        catalog, lines = await self._classify(rows.labelled)
        table = pd.DataFrame(
            {"row": range(1, len(lines) + 1), "prdtypecode": rows.labelled["code"]}
        )
        files = {"labels": ("labels.csv", table.to_csv(index=False).encode())}
        path = f"/v1/catalogs/{catalog}/labels"
        report = await self._client.send(path, files, new_categories="true")
        if report["taken"] != len(table):
            raise SystemExit(f"Expected {len(table)} labels. Received: {report}")
        files = {"categories": ("categories.csv", _names([*rows.known, rows.later]))}
        await self._client.send(f"/v1/datasets/{DATASET}/rows", files, labels="corrected")
        found = await self._system.until(f"/v1/datasets/{DATASET}", running.is_checked)
        classes = found["versions"][0]["classes"]
        if classes != len(rows.known) + 1:
            raise SystemExit(f"Expected {len(rows.known) + 1} categories. Received: {classes}")

    async def _report(self) -> None:
        month = f"{now():%Y-%m}"
        await self._client.post("/v1/reports", {"month": month})
        await self._system.until("/v1/reports", lambda found: bool(found["items"]))
        found = await self._client.get(f"/v1/reports/{month}")
        document = found["document"]
        quality = document["quality"]
        fusion = next(one for one in quality["modalities"] if one["modality"] == "fusion")
        self._story.report = {
            "sentence": document["verdict"]["sentence"],
            "categories": len(quality["classes"]),
            "by labels": fusion["volunteered"],
            "estimated": fusion["estimated"],
            "levels": quality["levels"],
        }

    def _table(self, rows: pd.DataFrame) -> bytes:
        table = rows.rename(columns={"code": "prdtypecode"})
        return table.to_csv(index=False).encode()

    def _later_f1(self, others: Codes, lines: list[dict[str, str]]) -> float:
        truth = np.concatenate([truth_of(self._rows.tested), truth_of(self._rows.later_tested)])
        answers = np.concatenate([others, _codes(lines)])
        return category_f1(truth, answers, self._rows.later.code)


def accepted(
    lines: list[dict[str, str]],
    truth: Codes,
    weights: NDArray[np.float64],
    threshold: float | Mapping[int, float | None] | None,
) -> Accepted:
    """Return the answers that a threshold accepts, and the share of them that is right.

    Args:
        lines: Rows of the results.
        truth: True codes, shape `(rows,)`.
        weights: Products of the shop that each row stands for, shape `(rows,)`.
        threshold: Lowest confidence, of all or by code; `None` accepts nothing.
    """
    answers = _codes(lines)
    taken = np.array(
        [
            _is_accepted(line, int(code), threshold)
            for line, code in zip(lines, answers, strict=True)
        ]
    )
    if not taken.any():
        return Accepted(0.0, 0.0)
    right = np.average((answers == truth)[taken], weights=weights[taken])
    return Accepted(float(weights[taken].sum() / weights.sum()), float(right))


def _is_accepted(
    line: Mapping[str, str], code: int, threshold: float | Mapping[int, float | None] | None
) -> bool:
    least = threshold.get(code) if isinstance(threshold, Mapping) else threshold
    is_foreign = line["is_foreign"].lower() == "true"
    return least is not None and not is_foreign and float(line["confidence"]) >= least


def _codes(lines: list[dict[str, str]]) -> Codes:
    return np.array([int(line["prdtypecode"] or NO_ANSWER) for line in lines], np.int64)


def _names(leaves: list[Leaf]) -> bytes:
    table = pd.DataFrame(
        {"prdtypecode": [leaf.code for leaf in leaves], "category": [leaf.name for leaf in leaves]}
    )
    return table.to_csv(index=False).encode()
