"""A release folder, loaded as the workers load it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray

from shared.errors import ImageUnreadable
from shared.inference.fusion import FusionModel
from shared.inference.image import prepare
from shared.inference.manifest import ReleaseManifest
from shared.inference.text import TextInputs, product_text

Floats = NDArray[np.float32]

TEXT_BATCH = 64
#: Xception on a CPU gains nothing from larger batches.
IMAGE_BATCH = 4


@dataclass(frozen=True)
class LoadedRelease:
    """The models of one release, ready to score."""

    manifest: ReleaseManifest
    inputs: TextInputs
    text: onnxruntime.InferenceSession
    image: onnxruntime.InferenceSession
    fusion: FusionModel

    @classmethod
    def load(cls, folder: Path) -> "LoadedRelease":
        """Load a folder. Raises `InvalidInput` if it is not a release."""
        manifest = ReleaseManifest.read(folder)
        return cls(
            manifest=manifest,
            inputs=TextInputs.load(folder / "text", manifest.text),
            text=_session(folder / "text/model.onnx"),
            image=_session(folder / "image/model.onnx"),
            fusion=FusionModel.load(folder / "fusion"),
        )

    def score_texts(self, rows: pd.DataFrame) -> Floats:
        """Probabilities of rows with `designation` and `description`, `(rows, classes)`."""
        pairs = zip(rows["designation"], rows["description"], strict=True)
        texts = [product_text(title, body) for title, body in pairs]
        order = np.argsort([len(text) for text in texts], kind="stable")
        scores = np.zeros((len(texts), len(self.manifest.categories)), np.float32)
        for start in range(0, len(texts), TEXT_BATCH):
            chosen = order[start : start + TEXT_BATCH]
            inputs = self.inputs.of([texts[i] for i in chosen])
            scores[chosen] = self.text.run(["probabilities"], inputs)[0]
        return scores

    def score_pictures(self, rows: pd.DataFrame) -> Floats:
        """Probabilities of rows with a `picture`, `(rows, classes)`; equal where unreadable."""
        classes = len(self.manifest.categories)
        scores = np.full((len(rows), classes), 1 / classes, np.float32)
        for positions, pixels in read_pictures(rows, self.manifest.image.size):
            scores[positions] = self.image.run(["probabilities"], {"pictures": pixels})[0]
        return scores


def read_pictures(rows: pd.DataFrame, size: int) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """Read pictures a few at a time; those that cannot be read are left out.

    Yields:
        Positions in `rows`, and pixels of shape `(positions, size, size, 3)`.
    """
    waiting: list[tuple[int, NDArray[np.uint8]]] = []
    for position, path in enumerate(rows["picture"]):
        try:
            waiting.append((position, prepare(Path(path).read_bytes(), size)))
        except ImageUnreadable:
            continue
        if len(waiting) == IMAGE_BATCH:
            yield _stacked(waiting)
            waiting = []
    if waiting:
        yield _stacked(waiting)


def _stacked(
    waiting: list[tuple[int, NDArray[np.uint8]]],
) -> tuple[list[int], NDArray[np.uint8]]:
    return [position for position, _ in waiting], np.stack([pixels for _, pixels in waiting])


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
