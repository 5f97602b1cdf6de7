"""The image model of a release: pixels to features by the backbone, those to probabilities.

Releases without an extractor have one `image/model.onnx` that does both; here their backbone gives
probabilities, and their head passes them on.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import ReleaseIncompatible
from shared.inference.manifest import IMAGE_INPUT, ImagePart
from shared.inference.onnx_session import open_fastest, open_session
from shared.inference.preparation.image import IMAGE_PREPARATION

Pixels = NDArray[np.uint8]
Features = NDArray[np.float16]
Floats = NDArray[np.float32]

#: Largest half-precision number.
LARGEST_HALF = float(np.finfo(np.float16).max)


class Backbone:
    """Feature extractor; identical for all releases with the same `extractor`.

    Args:
        folder: A release.
        part: What the release says of its image model.
        threads: Threads of one model call.

    Raises:
        ReleaseIncompatible: The release was made for another preparation of images.
    """

    def __init__(self, folder: Path, part: ImagePart, *, threads: int) -> None:
        if part.preparation != IMAGE_PREPARATION:
            raise ReleaseIncompatible(
                f"Expected a release for the preparation {IMAGE_PREPARATION!r}. "
                f"Received: {part.preparation!r}"
            )
        has_head = part.extractor is not None
        self._output = "features" if has_head else "probabilities"
        name = "backbone.onnx" if has_head else "model.onnx"
        self._session = open_fastest(folder / "image" / name, threads=threads)

    def score(self, items: Sequence[Pixels]) -> Floats:
        """Return the features of pixels `(size, size, 3)`, shape `(batch, features)`."""
        rows: Floats = self._session.run([self._output], {IMAGE_INPUT: np.stack(items)})[0]
        return rows


class Head:
    """Classifier on features, specific to a release.

    Args:
        folder: A release.
        part: What the release says of its image model.
    """

    def __init__(self, folder: Path, part: ImagePart) -> None:
        self.part = part
        self._session = (
            None if part.extractor is None else open_session(folder / "image/head.onnx", threads=1)
        )

    def score(self, rows: NDArray[np.floating]) -> Floats:
        """Return the probabilities `(batch, classes)` of features `(batch, features)`."""
        if self._session is None:
            return rows.astype(np.float32)
        # Rounded like stored features, so that fresh and stored features give the same answer.
        found: Floats = self._session.run(
            ["probabilities"], {"features": halved(rows).astype(np.float32)}
        )[0]
        return found


def halved(rows: NDArray[np.floating]) -> Features:
    """Round features to half precision, in which they are stored."""
    rounded: Features = np.clip(rows, -LARGEST_HALF, LARGEST_HALF).astype(np.float16)
    return rounded
