"""Mix of categories that is answered today, as the labels of drawn answers tell it.

They are an unbiased sample of what comes now (`trainer.datasets.labelled.drawn_answers`), while the
rows of the files cover years. Where the mix alone has changed, old rows are worth no less: weighted
by `share now / share among them` of their category, they are a sample of today's products (label
shift; Lipton, Wang and Smola, "Detecting and Correcting for Label Shift with Black Box Predictors",
2018).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from trainer.datasets.folder import Dataset

Places = NDArray[np.int64]
Doubles = NDArray[np.float64]

#: Newest labels of drawn answers that count, at most.
NEWEST = 500
#: With fewer labels than this, the current mix is not known.
LEAST_LABELS = 100
#: Older labels join the newest in blocks of this size, until a block has another mix.
BLOCK = 50
#: The current mix must differ from that of the training rows beyond this probability of chance.
SIGNIFICANCE, SAMPLES = 0.01, 500
#: A category is given up if it keeps less than this share of its F1, on this many rows or more.
KEPT_SHARE, LEAST_KEPT_ROWS = 0.5, 20


@dataclass(frozen=True)
class Mix:
    """Shares of the categories, now and among the training rows.

    Attributes:
        now: Shape `(classes,)`.
        trained: Shape `(classes,)`.
        labels: Number of labels that tell the current mix.
        since: Time of the oldest answer among them, in seconds since the epoch.
    """

    now: Doubles
    trained: Doubles
    labels: int
    since: float = 0.0

    @property
    def ratios(self) -> Doubles:
        """Share now over share among the training rows, shape `(classes,)`."""
        return self.now / self.trained

    def weights(self, targets: Places) -> Doubles:
        """Return a weight for each of some rows, so that together they have the current mix.

        Args:
            targets: Column numbers of their categories, shape `(rows,)`.
        """
        shares = sums(targets, np.ones(len(targets)), len(self.now)) / max(len(targets), 1)
        found: Doubles = (self.now / np.where(shares > 0, shares, 1.0))[targets]
        return found


def current_mix(data: Dataset, trained: Doubles, seed: int = 0) -> Mix | None:
    """Return the current mix; `None` if it is unknown or not significantly another one.

    The shares are those of the sample, shrunk towards those of the training rows by the weight of
    one label for each category.

    Args:
        data: Dataset with labels of drawn answers; its `test` rows do not count.
        trained: Share of each category among the training rows, above 0, shape `(classes,)`.
        seed: Seed of the permutations.
    """
    drawn = _drawn(data)
    if len(drawn) < LEAST_LABELS:
        return None
    drawn = _of_one_mix(drawn, seed)
    classes = len(trained)
    weights = drawn["represents"].to_numpy(np.float64)
    shares = sums(data.targets(drawn), weights, classes) / weights.sum()
    effective = _effective(weights)
    if _by_chance(shares, trained, round(effective), seed) > SIGNIFICANCE:
        return None
    now = (effective * shares + classes * trained) / (effective + classes)
    return Mix(now, trained, len(drawn), float(drawn["answered_at"].min()))


def given_up(targets: NDArray[Any], before: NDArray[Any], after: NDArray[Any]) -> list[int]:
    """Return the categories that lose more than half of their F1.

    A category that comes no more may lose some of its answers to those that do, but stays usable:
    its products may come back.

    Args:
        targets: True categories, shape `(rows,)`; those with few rows are left out.
        before: Answers of the one model, shape `(rows,)`.
        after: Answers of the other one, shape `(rows,)`.
    """
    found, counts = np.unique(targets, return_counts=True)
    found = found[counts >= LEAST_KEPT_ROWS]
    if not len(found):
        return []
    kept, f1 = (
        f1_score(targets, one, labels=found, average=None, zero_division=0)
        for one in (before, after)
    )
    return [int(one) for one in found[f1 < KEPT_SHARE * kept]]


def sums(targets: Places, weights: NDArray[np.floating[Any]], classes: int) -> Doubles:
    """Return the sum of the weights by category, shape `(classes,)`."""
    return np.bincount(targets, weights, classes).astype(np.float64)


def _drawn(data: Dataset) -> pd.DataFrame:
    """Return the newest rows with a label of a drawn answer; `test` rows are left out."""
    rows = data.part("train", "validation")
    if "represents" not in rows:
        return rows.iloc[:0]
    return rows[rows["represents"] > 0].sort_values("answered_at", kind="stable").iloc[-NEWEST:]


def _of_one_mix(drawn: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the newest rows, back to the last significant change of the mix.

    Rows from before a change would hide it. Each row counts for the answers that it represents:
    what is drawn more often on some days is no change of the mix.
    """
    start = len(drawn) - LEAST_LABELS
    while start > 0:
        older = max(0, start - BLOCK)
        if _alike(drawn.iloc[older:start], drawn.iloc[start:], seed) < SIGNIFICANCE:
            break
        start = older
    return drawn.iloc[start:]


def _alike(older: pd.DataFrame, newer: pd.DataFrame, seed: int) -> float:
    """Return the p-value of two groups of rows if their answers had one mix.

    Pearson's statistic, with its distribution by simulation, for as many equally weighted rows as
    tell the same.
    """
    places = pd.factorize(pd.concat([older["code"], newer["code"]]))[0]
    classes = int(places.max()) + 1
    shares, rows = [], []
    for group, columns in ((older, places[: len(older)]), (newer, places[len(older) :])):
        weights = group["represents"].to_numpy(np.float64)
        shares.append(sums(columns, weights, classes) / weights.sum())
        rows.append(round(_effective(weights)))
    pooled = np.average(shares, axis=0, weights=rows)
    generator = np.random.default_rng(seed)
    simulated = [generator.multinomial(count, pooled, size=SAMPLES) / count for count in rows]
    distances = _distance(np.stack(simulated), rows)
    observed = _distance(np.stack(shares)[:, None], rows)
    return float((1 + (distances >= observed).sum()) / (SAMPLES + 1))


def _distance(shares: Doubles, rows: list[int]) -> Doubles:
    """Return Pearson's statistic of the shares of two groups, shape `(2, samples, classes)`."""
    pooled = np.average(shares, axis=0, weights=rows)
    squares = (shares - pooled) ** 2 / np.where(pooled > 0, pooled, 1.0)
    found: Doubles = np.tensordot(np.array(rows, np.float64), squares, axes=1).sum(axis=1)
    return found


def _effective(weights: Doubles) -> float:
    """Return the number of equal labels that tell as much (Kish, "Survey Sampling", 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _by_chance(shares: Doubles, trained: Doubles, labels: int, seed: int) -> float:
    """Return the p-value of the shares if the mix were that of the training rows.

    Pearson's statistic, with its distribution by simulation: many categories have no label.
    """
    drawn = np.random.default_rng(seed).multinomial(labels, trained, size=SAMPLES) / labels
    distances = ((drawn - trained) ** 2 / trained).sum(axis=1)
    observed = ((shares - trained) ** 2 / trained).sum()
    return float((1 + (distances >= observed).sum()) / (SAMPLES + 1))
