"""Networks with ImageNet weights: out of a file, or those that Keras fetches."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from shared.errors import RayonError

#: How Keras says that it could not fetch a file (`keras.utils.get_file`).
_NOT_FETCHED = "URL fetch failure"


class WeightsMissing(RayonError):
    """A network has no weights here; the message says which file would do."""

    title = "Weights missing"


def with_weights(
    build: Callable[[str | None], keras.Model], file: Path | None, name: str
) -> keras.Model:
    """Build a network with its ImageNet weights.

    Args:
        build: Takes what Keras calls `weights`: `imagenet`, or `None` for a network without any.
        file: Arrays in `get_weights()` order; `None` lets Keras fetch its own.
        name: What such a file is called.

    Raises:
        WeightsMissing: There is no file, and the machine cannot fetch any.
    """
    if file is not None:
        network = build(None)
        with np.load(file) as arrays:
            network.set_weights([arrays[one].astype("float32") for one in arrays.files])
        return network
    try:
        return build("imagenet")
    except Exception as error:
        if _NOT_FETCHED not in str(error):
            raise
        raise WeightsMissing(
            f"Expected a folder of weights with {name}, or a network to fetch them by. "
            f"Received: neither"
        ) from error
