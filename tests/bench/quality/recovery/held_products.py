"""Measure what a change costs and what is regained, on products that no release has seen.

The first release answers products as before the change and products as after it; the difference of
F1 is what is lost. The last release answers the same products as after the change; its gain is what
is regained. Both releases answer equal products, so that chance moves the gain little, and a story
without a promotion regains exactly nothing. The worst window of a stream is no such measure: with
500 products a window, the worst of ten is below their mean by chance alone, and the last ones above
it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainer.release.intervals import CONFIDENCE, Interval, distinct, weighted_f1
from trainer.release.loaded import LoadedRelease

Codes = NDArray[np.int64]
Doubles = NDArray[np.float64]

#: Draws of the products for the interval of a share.
RESAMPLES = 2_000


@dataclass(frozen=True)
class Held:
    """Answers to products that no release has seen.

    Attributes:
        before: Products as before the change: true category and answer of the first release, shape
            `(products, 2)`.
        after: Products as after it: true category, answers of the first and of the last release,
            shape `(products, 3)`.
    """

    before: Codes
    after: Codes

    @property
    def f1(self) -> tuple[float, float, float]:
        """Weighted F1 of the first release before and after the change, and of the last one."""
        first_before, first_after, last = self._f1(*(_all(part) for part in self._parts))
        return float(first_before[0]), float(first_after[0]), float(last[0])

    @property
    def lost(self) -> float:
        """F1 that the change costs the first release."""
        before, after, _ = self.f1
        return before - after

    @property
    def regained(self) -> float:
        """F1 that the last release has over the first one after the change."""
        _, first, last = self.f1
        return last - first

    def resampled(self, generator: np.random.Generator) -> tuple[Doubles, Doubles]:
        """Return what is lost and regained with the products drawn anew, shape `(RESAMPLES,)`."""
        before, first, last = self._f1(*(_drawn(part, generator) for part in self._parts))
        return before - first, last - first

    @property
    def _parts(self) -> tuple[Codes, Codes]:
        return self.before, self.after

    def _f1(self, before: Codes, after: Codes) -> tuple[Doubles, Doubles, Doubles]:
        cells_before, cells_after = distinct(self.before)[0], distinct(self.after)[0]
        return (
            weighted_f1(cells_before, 1, before),
            weighted_f1(cells_after, 1, after),
            weighted_f1(cells_after, 2, after),
        )


def regained_share(held: Sequence[Held], seed: int = 0) -> Interval:
    """Return what is regained in all runs over what is lost in all of them, with its interval.

    The interval is of the choice of the products (percentile bootstrap); runs are not drawn.

    Args:
        held: Answers of each run.
        seed: Equal seeds give equal intervals.
    """
    generator = np.random.default_rng(seed)
    lost, regained = (
        np.sum(parts, axis=0)
        for parts in zip(*(one.resampled(generator) for one in held), strict=True)
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(regained / lost, [tail, 1 - tail])
    share = sum(one.regained for one in held) / sum(one.lost for one in held)
    return Interval(share, float(low), float(high))


def held_answers(before: pd.DataFrame, after: pd.DataFrame, first: Path, last: Path) -> Held:
    """Have two releases answer the held products.

    Args:
        before: Products as before the change, with `designation`, `description` and `code`.
        after: Products as after it.
        first: Folder of the release that served before the change.
        last: Folder of the release that serves at the end.
    """
    releases = [LoadedRelease.load(folder) for folder in (first, last)]
    return Held(_answered(before, releases[:1]), _answered(after, releases))


def _answered(rows: pd.DataFrame, releases: Sequence[LoadedRelease]) -> Codes:
    columns = [rows["code"].to_numpy(np.int64)]
    for release in releases:
        codes = np.array(release.manifest.category_set.codes, np.int64)
        columns.append(codes[release.score_texts(rows).argmax(axis=1)])
    return np.stack(columns, axis=1)


def _all(part: Codes) -> Codes:
    return distinct(part)[1][None]


def _drawn(part: Codes, generator: np.random.Generator) -> Codes:
    counts = distinct(part)[1]
    rows = int(counts.sum())
    found: Codes = generator.multinomial(rows, counts / rows, size=RESAMPLES)
    return found
