"""Did something move, and how far? Two-sample tests with an effect size. Pure functions on arrays.

Every test gives both: a p-value, which says whether chance explains the difference, and an effect,
which says whether it matters. With 5,000 products chance explains almost nothing, and with 200
almost everything; so only both together are a reason to act.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

FOLDS = 5
#: Strength of the classifier's penalty: two hundred products must not be learned by heart.
PENALTY = 10.0
#: Counted into each cell of a mix, so that a category that nobody saw has a finite index.
SMOOTHING = 0.5


@dataclass(frozen=True)
class Difference:
    """How far two samples are apart.

    Attributes:
        effect: 0 where they are alike.
        p_value: How often chance alone gives as much.
    """

    effect: float
    p_value: float


@dataclass(frozen=True)
class Told:
    """How well a classifier tells the samples apart, and which products look most unlike.

    Attributes:
        difference: Its effect is `2 AUC - 1`: 0 when it guesses, 1 when it never errs.
        reference: Unlikeness of each reference row, shape `(reference,)`, by a fit without it.
        window: The same of the window's rows, shape `(window,)`.
    """

    difference: Difference
    reference: Floats
    window: Floats


def tell_apart(reference: Floats, window: Floats, *, seed: int = 0) -> Told:
    """Train a classifier to tell two samples apart, and see how often it is right.

    A classifier two-sample test (Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests",
    2017) with a logistic regression; each row is judged by a fit that has not seen it, and the
    ranks are compared by Mann and Whitney's test. The effect is Somers' D, `2 AUC - 1`.

    Args:
        reference: Shape `(reference, features)`.
        window: Shape `(window, features)`.
        seed: Of the folds.

    Raises:
        ValueError: Fewer rows than folds in one of the samples.
    """
    rows = np.concatenate([reference, window])
    is_window = np.repeat([0, 1], [len(reference), len(window)])
    unlikeness = np.zeros(len(rows))
    for fit_on, others in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(
        rows, is_window
    ):
        model = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=1 / PENALTY, class_weight="balanced", max_iter=500),
        ).fit(rows[fit_on], is_window[fit_on])
        unlikeness[others] = model.predict_proba(rows[others])[:, 1]
    of_reference, of_window = unlikeness[: len(reference)], unlikeness[len(reference) :]
    test = stats.mannwhitneyu(of_window, of_reference, alternative="greater")
    area = float(test.statistic) / (len(reference) * len(window))
    return Told(Difference(max(0.0, 2 * area - 1), float(test.pvalue)), of_reference, of_window)


def mix_moved(reference: Counts, window: Counts) -> Difference:
    """Compare how often each category was answered.

    The effect is the population stability index, `sum (q - p) ln(q / p)`, less what chance alone
    gives it: `(categories - 1) (1 / reference + 1 / window)` (Yurdakul, "Statistical Properties of
    the Population Stability Index", 2018; .13 for 27 categories and 200 rows). The p-value is of
    the chi-squared test of homogeneity.

    Args:
        reference: Answers by category, shape `(classes,)`.
        window: The same of the window.
    """
    seen = (reference + window) > 0
    there, here = reference[seen].astype(np.float64), window[seen].astype(np.float64)
    if len(there) < 2 or not there.sum() or not here.sum():
        return Difference(0.0, 1.0)
    p, q = ((one + SMOOTHING) / (one.sum() + SMOOTHING * len(one)) for one in (there, here))
    index = float(((q - p) * np.log(q / p)).sum())
    by_chance = (len(there) - 1) * (1 / there.sum() + 1 / here.sum())
    test = stats.chi2_contingency(np.stack([there, here]))
    return Difference(max(0.0, index - by_chance), float(test.pvalue))


def shares_moved(reference: Counts, window: Counts, *, error_rate: float = 0.05) -> Counts:
    """Which categories' shares moved beyond chance: their columns, those that moved most first.

    A test of two proportions for each, and Benjamini and Hochberg's procedure over all of them
    ("Controlling the False Discovery Rate", 1995).
    """
    of_reference, of_window = int(reference.sum()), int(window.sum())
    differences = [
        share_moved(int(there), of_reference, int(here), of_window)
        for there, here in zip(reference, window, strict=True)
    ]
    p_values = np.array([one.p_value for one in differences])
    moved = stats.false_discovery_control(p_values) <= error_rate
    far = np.abs(window / max(of_window, 1) - reference / max(of_reference, 1))
    order = np.argsort(-far, kind="stable")
    chosen: Counts = order[moved[order]].astype(np.int64)
    return chosen


def share_moved(there: int, of_reference: int, here: int, of_window: int) -> Difference:
    """Compare two shares: `there` of `of_reference` against `here` of `of_window`.

    The effect is Cohen's h, `2 asin √q - 2 asin √p` (Cohen, "Statistical Power Analysis", 1988,
    chapter 6), negative where the share fell; the p-value is of the score test of two proportions.
    """
    if not of_reference or not of_window:
        return Difference(0.0, 1.0)
    p, q = there / of_reference, here / of_window
    pooled = (there + here) / (of_reference + of_window)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / of_reference + 1 / of_window))
    effect = float(2 * np.arcsin(np.sqrt(q)) - 2 * np.arcsin(np.sqrt(p)))
    if not spread:
        return Difference(effect, 1.0)
    return Difference(effect, float(2 * stats.norm.sf(abs(q - p) / spread)))


def feature_moved(reference: Floats, window: Floats) -> Difference:
    """Compare one number of all products: Kolmogorov and Smirnov's distance and test."""
    test = stats.ks_2samp(reference, window, method="asymp")
    return Difference(float(test.statistic), float(test.pvalue))
