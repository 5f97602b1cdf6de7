"""Repeated stratified cross-validation: every row is scored by a fit that did not see it.

A figure that chooses must not be the figure that was tuned. Whatever is tuned on held-out rows (a
temperature, the weights of a pool, a fusion) is therefore tuned on some folds of them and measured
on the others. Several repeats, each with other folds, make the figure depend less on one division
(Kohavi, "A Study of Cross-Validation and Bootstrap for Accuracy Estimation", IJCAI 1995).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
#: Fits on some rows and scores others: both are positions; returns `(others, classes)`.
Score = Callable[[Integers, Integers], Floats]

FOLDS = 5
REPEATS = 3


def strata_of(targets: Integers, is_official: NDArray[np.bool_]) -> Integers:
    """Return groups of rows that every fold gets its share of: by category and kind of label."""
    strata: Integers = 2 * targets + is_official
    return strata


def folds_of(strata: Integers, folds: int, generator: np.random.Generator) -> Integers:
    """Return the number of each row's fold, shape `(rows,)`.

    The rows of each stratum are dealt out in turn, so its shares of two folds differ by one row at
    most, and so do the folds. scikit-learn's `StratifiedKFold` refuses categories of which all have
    fewer rows than there are folds, as those of a young shop do.
    """
    order = generator.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    found = np.empty(len(strata), np.int64)
    found[order] = np.arange(len(strata)) % folds
    return found


def out_of_fold(
    strata: Integers, score: Score, seed: int, *, folds: int = FOLDS, repeats: int = REPEATS
) -> Floats:
    """Return scores of every row by fits without that row, shape `(repeats, rows, classes)`.

    Args:
        strata: Group of each row, shape `(rows,)`. A single row has no others to fit on: it is
            scored by a fit on itself.
        score: Fits and scores.
        seed: Equal seeds give equal folds.
        folds: Number of folds; with fewer rows, each row is a fold.
        repeats: Number of divisions into folds.
    """
    generator = np.random.default_rng(seed)
    rows = np.arange(len(strata))
    if len(rows) < 2:
        return np.repeat(score(rows, rows)[None], repeats, axis=0)
    return np.stack(
        [_once(strata, score, min(folds, len(rows)), generator) for _ in range(repeats)]
    )


def _once(strata: Integers, score: Score, folds: int, generator: np.random.Generator) -> Floats:
    fold = folds_of(strata, folds, generator)
    parts = [np.flatnonzero(fold == number) for number in range(folds)]
    scores = [score(np.flatnonzero(fold != number), part) for number, part in enumerate(parts)]
    found = np.empty((len(strata), scores[0].shape[1]), np.float32)
    found[np.concatenate(parts)] = np.concatenate(scores)
    return found
