"""F1 measured from labels at each level of a tree of categories."""

import numpy as np
from numpy.typing import NDArray

from trainer.monitoring.performance.cbpe import Estimate
from trainer.monitoring.performance.weighted_f1 import measured_f1
from trainer.release.tree_levels import Tree

Codes = NDArray[np.int64]


def measured_levels(
    tree: Tree, truth: Codes, answered: Codes, weights: NDArray[np.float64] | None = None
) -> list[Estimate]:
    """Return the weighted F1 at each level, from the roots to the leaves; none without a tree.

    Args:
        tree: The categories.
        truth: True codes, shape `(rows,)`, at least one.
        answered: Answered codes, shape `(rows,)`.
        weights: Number of answers that each row represents; equal by default.
    """
    return [measured_f1(true, found, weights) for true, found in tree.levels(truth, answered)]
