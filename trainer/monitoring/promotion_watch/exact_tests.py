"""Exact one-sided tests of counts, and a rank test; pure functions.

Each returns the probability of evidence at least as strong by chance alone. None needs a large
sample: they hold for the 25 answers of a first look.

SciPy takes some 35 MiB, so it is imported with the first test.
"""

from collections.abc import Sequence


def more_often(count: int, rows: int, count_before: int, rows_before: int) -> float:
    """Return the p-value of an event that became more frequent.

    Source: Fisher, The Design of Experiments, 1935; the hypergeometric tail.

    Args:
        count: Rows with the event, out of `rows`.
        rows: Rows after the change.
        count_before: Rows with the event before, out of `rows_before`.
        rows_before: Rows before the change.
    """
    from scipy import stats

    if not rows or not rows_before:
        return 1.0
    both = rows + rows_before
    return float(stats.hypergeom.sf(count - 1, both, count + count_before, rows))


def above_share(count: int, rows: int, share: float) -> float:
    """Return the p-value of an event that is more frequent than a share; the binomial tail."""
    from scipy import stats

    return float(stats.binom.sf(count - 1, rows, share))


def loses_more(lost: int, won: int) -> float:
    """Return the p-value of losing more pairs than winning.

    Pairs without a difference do not count. Source: McNemar 1947, in its exact form: the sign test.

    Args:
        lost: Rows that only the release before answers correctly.
        won: Rows that only the new release answers correctly.
    """
    return above_share(lost, lost + won, 0.5) if lost + won else 1.0


def slower(seconds: Sequence[float], before: Sequence[float]) -> float:
    """Return the p-value of times that became longer (Mann & Whitney 1947)."""
    from scipy import stats

    if not seconds or not before:
        return 1.0
    return float(stats.mannwhitneyu(seconds, before, alternative="greater").pvalue)


def highest_share(count: int, rows: int, confidence: float = 0.95) -> float:
    """Return the upper end of the exact two-sided interval of a share (Clopper & Pearson 1934)."""
    from scipy import stats

    if count >= rows:
        return 1.0
    return float(stats.beta.ppf((1 + confidence) / 2, count + 1, rows - count))
