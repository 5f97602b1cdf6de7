"""Class-balanced weights: rows of rare categories weigh more while a model is fitted.

Cui, Jia, Lin, Song and Belongie, "Class-Balanced Loss Based on Effective Number of Samples" (CVPR
2019): each further row of a category adds less, because it resembles the others. `n` rows count as
`(1 - b^n) / (1 - b)`, and a category's weight is the inverse of this number. With `b` = 0 all
rows weigh the same, as without balance; towards 1 all categories weigh the same in sum.
"""

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput

Floats = NDArray[np.float32]


def balanced_weights(
    targets: NDArray[np.int64], weights: Floats, classes: int, strength: float
) -> Floats:
    """Return the weights of rows, balanced by category, shape `(rows,)`.

    The mean weight of a row stays as it is, so that penalties keep their proportion to the loss. A
    weakly labelled row counts as a part of a row.

    Args:
        targets: Column numbers of the categories, shape `(rows,)`.
        weights: Weights of the rows without balance, shape `(rows,)`.
        classes: Number of categories.
        strength: `b` of the formula, from 0 (no change) to below 1.

    Raises:
        InvalidInput: The strength is outside that range.
    """
    if not 0 <= strength < 1:
        raise InvalidInput(f"Expected a class balance from 0 to below 1. Received: {strength}")
    if strength == 0 or not len(targets):
        return weights
    counts = np.bincount(targets, weights, classes)
    # Equal to (1 - b) / (1 - b^n), without loss of digits near b = 1.
    ratios = (1 - strength) / -np.expm1(np.maximum(counts, 1.0) * np.log(strength))
    found = weights * ratios[targets]
    balanced: Floats = (found * (weights.sum() / found.sum())).astype(np.float32)
    return balanced
