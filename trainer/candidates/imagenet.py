"""Networks with ImageNet weights, from a file or downloaded by Keras."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from shared.errors import RayonError

#: Part of Keras's message about a failed download (`keras.utils.get_file`).
_DOWNLOAD_FAILED = "URL fetch failure"


class WeightsMissing(RayonError):
    """A network has no weights on this machine; the message names the expected file."""

    title = "Weights missing"


def with_weights(
    build: Callable[[str | None], keras.Model], file: Path | None, name: str
) -> keras.Model:
    """Build a network with its ImageNet weights.

    Args:
        build: Called with Keras's `weights` argument: `imagenet`, or `None` for random weights.
        file: Arrays in `get_weights()` order; `None` lets Keras download its own.
        name: Usual name of such a file, for the error.

    Raises:
        WeightsMissing: There is no file, and the download failed.
    """
    if file is not None:
        network = build(None)
        with np.load(file) as arrays:
            network.set_weights([arrays[key].astype("float32") for key in arrays.files])
        return network
    try:
        return build("imagenet")
    except Exception as error:
        if _DOWNLOAD_FAILED not in str(error):
            raise
        raise WeightsMissing(
            f"Expected a folder of weights with {name}, or a network to fetch them by. "
            f"Received: neither"
        ) from error
