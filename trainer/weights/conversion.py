"""Conversion of weights that Keras publishes into the arrays that candidates read.

The arrays are in `get_weights()` order, so that they load without the file format's code.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.files import atomic_write


def xception(source: Path, target: Path) -> None:
    """Convert Xception without its top; half precision changes its features by less than .001 %."""
    # TensorFlow takes seconds to load, and a list of files does not need it.
    import keras

    network = keras.applications.Xception(
        weights=None, include_top=False, pooling="avg", input_shape=(299, 299, 3)
    )
    _convert(network, source, target, np.float16)


def resnet50(source: Path, target: Path) -> None:
    """Convert ResNet50 without its top."""
    import keras

    network = keras.applications.ResNet50(
        weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3)
    )
    _convert(network, source, target, np.float32)


def _convert(network: "_Network", source: Path, target: Path, kind: type[np.generic]) -> None:
    try:
        network.load_weights(str(source))
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"Expected weights of {network.name} in {source}. Received: {error}"
        ) from error
    with atomic_write(target) as temporary, temporary.open("wb") as file:
        np.savez(file, *[array.astype(kind) for array in network.get_weights()])


class _Network:
    """The part of a Keras model that the conversion uses."""

    name: str

    def load_weights(self, path: str) -> None:
        """Load a file."""

    def get_weights(self) -> Sequence[NDArray[np.float32]]:
        """Return the arrays."""
        return ()
