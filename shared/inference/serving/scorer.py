"""Interface of a model in serving."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Item_contra = TypeVar("Item_contra", contravariant=True)


class Scorer(Protocol[Item_contra]):
    """A loaded model that computes probabilities of prepared items."""

    def score(self, items: Sequence[Item_contra]) -> NDArray[np.float32]:
        """Score a batch.

        Returns:
            Probabilities, shape `(batch, classes)`, in the order of the release's categories.
        """
