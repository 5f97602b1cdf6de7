"""Compare the speed of the running system with the stored one, as ratios to the bare models.

    make guard               # name what became slower beyond noise, with exit code 1
    make guard KEEP=1        # store the figures of this run

The system must be idle and on this machine. Each round measures every figure beside the bare
model, so a slow or busy machine changes both. A figure became slower if its median fell by more
than 10 % and the rounds are lower than the stored ones by a one-sided Mann-Whitney test at 1 %.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from infra.acceptance.client import Client
from infra.acceptance.products import dataset, rows_of
from infra.embedded.settings import PROJECT
from tests.bench.arguments import embedded_parser
from tests.bench.commands import run_command
from tests.bench.load.catalogs import catalog_of, table_of
from tests.bench.load.speed import bare_seconds, cached_release, rate_of, seconds_each
from trainer.release.loaded import LoadedRelease

STORED = Path(__file__).with_name("guard.json")
#: Products of each figure in one round.
SINGLE_JOBS, TEXTS, IMAGES, CATALOG_ROWS = 60, 600, 60, 5_000
#: A figure became slower below this ratio of the medians, at this level of the test.
LEAST_RATIO, LEVEL = 0.9, 0.01
RESAMPLES = 2_000

#: Ratios to the bare model by the name of the figure, one for each round; higher is faster.
Rounds = dict[str, list[float]]


@dataclass(frozen=True)
class Verdict:
    """Comparison of one figure with the stored one.

    Attributes:
        stored: Median of the stored rounds.
        now: Median of this run's rounds.
        low, high: 95 % interval of `now / stored`, by resampling the rounds of both.
        is_slower: True if it became slower beyond noise.
    """

    stored: float
    now: float
    low: float
    high: float
    is_slower: bool

    @property
    def ratio(self) -> float:
        """Ratio of the medians."""
        return self.now / self.stored


def main() -> int:
    """Measure, compare or store, and return the exit code."""
    parser = embedded_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="store the figures of this run")
    args = parser.parse_args()
    if args.rounds < 4:
        parser.error(f"expected at least 4 rounds, fewer decide nothing. Received: {args.rounds}")
    if not (args.keep or STORED.exists()):
        parser.error(f"expected stored figures in {STORED}. Received: none; store some with --keep")
    data = dataset(args.data)
    rows = {model: rows_of(data, model) for model in ("text", "image")}
    rounds = asyncio.run(_measure(args.url, args.home.resolve(), rows, args.rounds))
    if args.keep:
        _keep(rounds)
        return 0
    stored = json.loads(STORED.read_text("utf-8"))
    if stored["cores"] != os.cpu_count():
        print(
            f"The stored figures are those of {stored['cores']} cores, here are {os.cpu_count()}."
        )
    verdicts = {
        name: compared(stored["rounds"][name], found)
        for name, found in rounds.items()
        if name in stored["rounds"]
    }
    print("\n".join(table(verdicts)))
    return int(any(one.is_slower for one in verdicts.values()))


def compared(stored: Sequence[float], now: Sequence[float]) -> Verdict:
    """Compare the rounds of a figure with the stored ones."""
    random = np.random.default_rng(0)
    medians = [
        np.median(random.choice(rounds, (RESAMPLES, len(rounds))), axis=1)
        for rounds in (now, stored)
    ]
    low, high = np.quantile(medians[0] / medians[1], (0.025, 0.975))
    found = Verdict(float(np.median(stored)), float(np.median(now)), low, high, is_slower=False)
    chance = mannwhitneyu(now, stored, alternative="less").pvalue
    is_slower = bool(found.ratio < LEAST_RATIO and chance < LEVEL)
    return Verdict(found.stored, found.now, low, high, is_slower)


def table(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Return the lines of the table."""
    lines = [f"{'ratio to the bare model':<36}{'stored':>8}{'now':>8}{'now / stored':>22}"]
    for name, one in verdicts.items():
        interval = f"{one.ratio:.2f} [{one.low:.2f}, {one.high:.2f}]"
        lines.append(
            f"{name:<36}{one.stored:>8.3f}{one.now:>8.3f}{interval:>22}"
            f"{'  SLOWER' if one.is_slower else ''}"
        )
    return lines


async def _measure(url: str, home: Path, rows: dict[str, pd.DataFrame], rounds: int) -> Rounds:
    found: Rounds = {}
    async with Client(url) as client:
        # The first jobs of each kind open connections and fill caches.
        _, release = await seconds_each(client, rows["text"].head(3), "text")
        await seconds_each(client, rows["image"].head(3), "image")
        bare = LoadedRelease.load(cached_release(home, release))
        for number in range(1, rounds + 1):
            figures = await _round(client, home, bare, rows)
            print(f"round {number}: " + ", ".join(f"{one:.3f}" for one in figures.values()))
            for name, value in figures.items():
                found.setdefault(name, []).append(value)
    return found


async def _round(
    client: Client, home: Path, bare: LoadedRelease, rows: dict[str, pd.DataFrame]
) -> dict[str, float]:
    single = rows["text"].sample(SINGLE_JOBS)
    alone = np.median([_seconds(bare, single.iloc[[row]]) for row in range(SINGLE_JOBS)])
    waited, _ = await seconds_each(client, single, "text", os.urandom(16))
    figures = {"single text, 1 client": float(alone / np.median(waited))}
    for model, count in (("text", TEXTS), ("image", IMAGES)):
        chosen = rows[model].sample(count)
        bare_rate = count / bare_seconds(bare, chosen, model)
        rate = await rate_of(client, chosen, model, os.urandom(16))
        figures[f"{model}s, 64 clients"] = rate / bare_rate
    chosen = rows["text"].sample(TEXTS)
    bare_rate = TEXTS / bare_seconds(bare, chosen, "text")
    catalog = await catalog_of(client, home, table_of(rows["text"], CATALOG_ROWS), None)
    figures[f"catalog of {CATALOG_ROWS:,} texts"] = catalog["rows_per_second"] / bare_rate
    return figures


def _seconds(bare: LoadedRelease, row: pd.DataFrame) -> float:
    started = time.perf_counter()
    bare.score_texts(row)
    return time.perf_counter() - started


def _keep(rounds: Rounds) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True
    ).stdout.strip()
    rounded = {name: [round(one, 4) for one in found] for name, found in rounds.items()}
    content = {"commit": commit, "cores": os.cpu_count(), "rounds": rounded}
    STORED.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print(f"stored in {STORED.name}")


if __name__ == "__main__":
    run_command(main)
