"""The picture model behind the scorer protocol."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.inference.manifest import ReleaseManifest
from shared.inference.onnx_session import open_session

Pixels = NDArray[np.uint8]


class ImageScorer:
    """Prepared pictures in, probabilities out.

    Args:
        folder: A release.
        manifest: What the release says of itself.
        threads: Threads of one model call.
    """

    def __init__(self, folder: Path, manifest: ReleaseManifest, *, threads: int) -> None:
        self._session = open_session(folder / "image/model.onnx", threads=threads)
        self.score([np.zeros((manifest.image.size, manifest.image.size, 3), np.uint8)])

    def score(self, items: Sequence[Pixels]) -> NDArray[np.float32]:
        """Score a batch of pixels `(size, size, 3)`; returns shape `(batch, classes)`."""
        probabilities: NDArray[np.float32] = self._session.run(
            ["probabilities"], {"pictures": np.stack(items)}
        )[0]
        return probabilities
