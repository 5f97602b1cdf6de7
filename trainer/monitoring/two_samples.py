"""Two-sample tests with an effect size: the domain classifier, category mixes, shares, features.

Pure functions on arrays. Every test returns a p-value for significance and an effect size for
relevance. With 5,000 products almost any difference is significant, and with 200 almost none is;
so an alert needs both.

SciPy, scikit-learn and pandas, which scikit-learn imports, take some 105 MiB together, so they are
imported with the first test.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

FOLDS = 5
#: L2 penalty of the domain classifier, strong enough not to overfit two hundred products.
PENALTY = 10.0
#: Added to each cell of a category mix, so that an empty category has a finite index.
SMOOTHING = 0.5


@dataclass(frozen=True)
class Difference:
    """Difference of two samples.

    Attributes:
        effect: Effect size; 0 if the samples are equal.
        p_value: Probability of such a difference by chance alone.
    """

    effect: float
    p_value: float


@dataclass(frozen=True)
class DomainClassifierResult:
    """Result of the domain classifier test, with a score for each product.

    Attributes:
        difference: The effect is `2 AUC - 1`: 0 for a random classifier, 1 for a perfect one.
        reference: Out-of-fold probability of each reference row to be from the window, shape
            `(reference,)`.
        window: The same for the rows of the window, shape `(window,)`.
    """

    difference: Difference
    reference: Floats
    window: Floats


def domain_classifier_test(
    reference: Floats, window: Floats, *, seed: int = 0
) -> DomainClassifierResult:
    """Train a classifier to separate two samples, and test if it beats chance.

    A classifier two-sample test (Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests",
    2017) with a logistic regression. Each row is scored by a model fitted without it; the
    Mann-Whitney test compares the scores. The effect is Somers' D, `2 AUC - 1`.

    Args:
        reference: Shape `(reference, features)`.
        window: Shape `(window, features)`.
        seed: Seed of the folds.

    Raises:
        ValueError: One of the samples has fewer rows than folds.
    """
    from scipy import stats

    rows = np.concatenate([reference, window])
    is_window = np.repeat([0, 1], [len(reference), len(window)])
    scores = _out_of_fold(rows, is_window, seed)
    of_reference, of_window = scores[: len(reference)], scores[len(reference) :]
    test = stats.mannwhitneyu(of_window, of_reference, alternative="greater")
    area = float(test.statistic) / (len(reference) * len(window))
    difference = Difference(max(0.0, 2 * area - 1), float(test.pvalue))
    return DomainClassifierResult(difference, of_reference, of_window)


def _out_of_fold(rows: Floats, is_window: Counts, seed: int) -> Floats:
    """Return the probability that each row is of the window, by a model fitted without it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    scores = np.zeros(len(rows))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    # The products are small: on two busy cores, two threads took twenty times the processor time.
    with threadpool_limits(limits=1, user_api="blas"):
        for fit_on, others in folds.split(rows, is_window):
            model = make_pipeline(
                StandardScaler(),
                LogisticRegression(C=1 / PENALTY, class_weight="balanced", max_iter=500),
            ).fit(rows[fit_on], is_window[fit_on])
            scores[others] = model.predict_proba(rows[others])[:, 1]
    return scores


def compare_mixes(reference: Counts, window: Counts) -> Difference:
    """Compare the category distributions of two samples.

    The effect is the population stability index, `sum (q - p) ln(q / p)`, less its
    expectation without drift, `(categories - 1) (1 / reference + 1 / window)` (Yurdakul,
    "Statistical Properties of the Population Stability Index", 2018; .13 for 27 categories and 200
    rows). The p-value is that of the chi-squared test of homogeneity.

    Args:
        reference: Number of answers by category, shape `(classes,)`.
        window: The same for the window.
    """
    from scipy import stats

    seen = (reference + window) > 0
    expected, observed = reference[seen].astype(np.float64), window[seen].astype(np.float64)
    if len(expected) < 2 or not expected.sum() or not observed.sum():
        return Difference(0.0, 1.0)
    p, q = (_smoothed(counts) for counts in (expected, observed))
    index = float(((q - p) * np.log(q / p)).sum())
    by_chance = (len(expected) - 1) * (1 / expected.sum() + 1 / observed.sum())
    test = stats.chi2_contingency(np.stack([expected, observed]))
    return Difference(max(0.0, index - by_chance), float(test.pvalue))


def moved_categories(reference: Counts, window: Counts, *, error_rate: float = 0.05) -> Counts:
    """Return the columns of categories whose share changed significantly, largest change first.

    Tests each category by two proportions, and controls the false discovery rate over all of them
    (Benjamini and Hochberg, "Controlling the False Discovery Rate", 1995).
    """
    from scipy import stats

    reference_rows, window_rows = int(reference.sum()), int(window.sum())
    differences = [
        compare_shares(int(before), reference_rows, int(now), window_rows)
        for before, now in zip(reference, window, strict=True)
    ]
    p_values = np.array([difference.p_value for difference in differences])
    moved = stats.false_discovery_control(p_values) <= error_rate
    change = np.abs(window / max(window_rows, 1) - reference / max(reference_rows, 1))
    order = np.argsort(-change, kind="stable")
    chosen: Counts = order[moved[order]].astype(np.int64)
    return chosen


def compare_shares(
    reference_count: int, reference_rows: int, window_count: int, window_rows: int
) -> Difference:
    """Compare the share of some rows in the reference and in the window.

    The effect is Cohen's h, `2 asin √q - 2 asin √p` (Cohen, "Statistical Power Analysis", 1988,
    chapter 6), negative if the share fell; the p-value is that of the two-proportion score test.
    """
    from scipy import stats

    if not reference_rows or not window_rows:
        return Difference(0.0, 1.0)
    p, q = reference_count / reference_rows, window_count / window_rows
    pooled = (reference_count + window_count) / (reference_rows + window_rows)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / reference_rows + 1 / window_rows))
    effect = float(2 * np.arcsin(np.sqrt(q)) - 2 * np.arcsin(np.sqrt(p)))
    if not spread:
        return Difference(effect, 1.0)
    return Difference(effect, float(2 * stats.norm.sf(abs(q - p) / spread)))


def compare_feature(reference: Floats, window: Floats) -> Difference:
    """Compare the distributions of one feature by the Kolmogorov-Smirnov statistic and test."""
    from scipy import stats

    test = stats.ks_2samp(reference, window, method="asymp")
    return Difference(float(test.statistic), float(test.pvalue))


def _smoothed(counts: Floats) -> Floats:
    smoothed: Floats = (counts + SMOOTHING) / (counts.sum() + SMOOTHING * len(counts))
    return smoothed
