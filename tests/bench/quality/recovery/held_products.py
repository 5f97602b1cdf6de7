"""Measure what a change costs and what is regained, on products that no release has seen.

The first release answers products as before the change and products as after it; the difference of
F1 is what is lost. First and last release answer the same products as after the change, which were
never sent; the gain of the last one is what is regained. Chance moves this gain little, and a story
without a promotion regains exactly nothing. The worst window of a stream is no such measure: with
350 products a window, the worst one is below their mean by chance alone, and the last ones above
it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.bench.quality.recovery.worlds import World
from trainer.release.intervals import CONFIDENCE, Interval, distinct, weighted_f1
from trainer.release.loaded import LoadedRelease

Codes = NDArray[np.int64]
Doubles = NDArray[np.float64]

#: Draws of the products for the interval of a share.
RESAMPLES = 2_000
#: Stands for the answer of the last release to a product that was sent: it may have learnt from it.
NOT_ASKED = -1


@dataclass(frozen=True)
class Held:
    """Answers to products that no release had seen.

    Attributes:
        before: Products as before the change: true category and answer of the first release, shape
            `(products, 2)`.
        after: Products as after it: true category, answers of the first and of the last release,
            shape `(products, 3)`; `NOT_ASKED` where the product was sent.
    """

    before: Codes
    after: Codes

    @property
    def first_before(self) -> float:
        """Weighted F1 of the first release before the change."""
        return self._whole(0)

    @property
    def first_after(self) -> float:
        """Weighted F1 of the first release after the change."""
        return self._whole(1)

    @property
    def first_held(self) -> float:
        """The same on the products that were never sent."""
        return self._whole(2)

    @property
    def last_held(self) -> float:
        """Weighted F1 of the last release on these products."""
        return self._whole(3)

    @property
    def lost(self) -> float:
        """F1 that the change costs the first release."""
        return self.first_before - self.first_after

    @property
    def regained(self) -> float:
        """F1 that the last release has over the first one on the same products."""
        return self.last_held - self.first_held

    def resampled(self, generator: np.random.Generator) -> tuple[Doubles, Doubles]:
        """Return what is lost and regained with the products drawn anew, shape `(RESAMPLES,)`."""
        before, after, first, last = self._f1(
            *(_drawn(part, generator) for part in (self.before, self.after))
        )
        return before - after, last - first

    def _whole(self, place: int) -> float:
        counts = (distinct(part)[1][None] for part in (self.before, self.after))
        return float(self._f1(*counts)[place][0])

    def _f1(self, before: Codes, after: Codes) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        cells_before, cells_after = distinct(self.before)[0], distinct(self.after)[0]
        held = after * (cells_after[:, 2] != NOT_ASKED)
        return (
            weighted_f1(cells_before, 1, before),
            weighted_f1(cells_after, 1, after),
            weighted_f1(cells_after, 1, held),
            weighted_f1(cells_after, 2, held),
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


def held_answers(world: World, first: Path, last: Path) -> Held:
    """Have two releases answer products of a world that none had learnt from.

    Args:
        world: Its products; those of its first dataset are left out.
        first: Folder of the release that served before the change.
        last: Folder of the release that serves at the end.
    """
    old, new = (LoadedRelease.load(folder) for folder in (first, last))
    before = pd.concat([world.before, world.held_before])
    after = pd.concat([world.after, world.held_after])
    last_answers = np.full(len(after), NOT_ASKED, np.int64)
    last_answers[len(world.after) :] = _answers(new, world.held_after)
    return Held(
        np.stack([_codes(before), _answers(old, before)], axis=1),
        np.stack([_codes(after), _answers(old, after), last_answers], axis=1),
    )


def _codes(rows: pd.DataFrame) -> Codes:
    return rows["code"].to_numpy(np.int64)


def _answers(release: LoadedRelease, rows: pd.DataFrame) -> Codes:
    codes = np.array(release.manifest.category_set.codes, np.int64)
    found: Codes = codes[release.score_texts(rows).argmax(axis=1)]
    return found


def _drawn(part: Codes, generator: np.random.Generator) -> Codes:
    counts = distinct(part)[1]
    rows = int(counts.sum())
    found: Codes = generator.multinomial(rows, counts / rows, size=RESAMPLES)
    return found
