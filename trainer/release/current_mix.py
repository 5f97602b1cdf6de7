"""Mix of categories that is answered today, as the labels of drawn answers tell it.

They are an unbiased sample of what comes now (`trainer.datasets.drawn_answers`), while the rows of
the files cover years. Where the mix alone has changed, old rows are worth no less: weighted by
`share now / share among them` of their category, they are a sample of today's products (label
shift; Lipton, Wang and Smola, "Detecting and Correcting for Label Shift with Black Box Predictors",
2018).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import PermutationMethod, chi2_contingency
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
    # Labels of unequal weights tell less than as many equal ones (Kish, "Survey Sampling", 1965).
    effective = weights.sum() ** 2 / (weights**2).sum()
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

    Rows from before a change would hide it. The test is Pearson's, by permutation.
    """
    codes = drawn["code"].to_numpy()
    start = len(codes) - LEAST_LABELS
    while start > 0:
        older = max(0, start - BLOCK)
        table = pd.crosstab(codes[older:], np.arange(older, len(codes)) < start)
        method = PermutationMethod(n_resamples=SAMPLES, rng=np.random.default_rng(seed))
        found = chi2_contingency(table, correction=False, method=method) if len(table) > 1 else None
        if found is not None and found.pvalue < SIGNIFICANCE:
            break
        start = older
    return drawn.iloc[start:]


def _by_chance(shares: Doubles, trained: Doubles, labels: int, seed: int) -> float:
    """Return the p-value of the shares if the mix were that of the training rows.

    Pearson's statistic, with its distribution by simulation: many categories have no label.
    """
    drawn = np.random.default_rng(seed).multinomial(labels, trained, size=SAMPLES) / labels
    distances = ((drawn - trained) ** 2 / trained).sum(axis=1)
    observed = ((shares - trained) ** 2 / trained).sum()
    return float((1 + (distances >= observed).sum()) / (SAMPLES + 1))
