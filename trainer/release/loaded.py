"""A release folder, loaded as the workers load it."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import ImageUnreadable, ModalityNotInRelease, NotFound
from shared.inference.manifest import ImagePart, ReleaseManifest, TextPart
from shared.inference.onnx_session import open_session
from shared.inference.preparation.image import prepare
from shared.inference.preparation.text import TextInputs, product_text
from shared.inference.releases.fusion_model import FusionModel
from shared.inference.releases.image_model import Backbone, Features, Head, halved
from trainer.datasets.images import read_image

Floats = NDArray[np.float32]

#: The folders of a release's models.
PARTS = ("text", "image", "fusion")
TEXT_BATCH = 64
#: Xception on a CPU is slower in larger batches, and takes more memory.
IMAGE_BATCH = 1


class TextModel:
    """The text model of a release: prepared texts to probabilities."""

    def __init__(self, folder: Path, part: TextPart) -> None:
        self._inputs = TextInputs.load(folder / "text", part)
        self._session = open_session(folder / "text/model.onnx", threads=_cores())

    def score(self, texts: Sequence[str]) -> Floats:
        """Score prepared texts; returns shape `(texts, classes)`."""
        found: Floats = self._session.run(["probabilities"], self._inputs.of(texts))[0]
        return found


class ImageModel:
    """The image model of a release: pixels to features to probabilities."""

    def __init__(self, folder: Path, part: ImagePart) -> None:
        self._backbone = Backbone(folder, part, threads=_cores())
        self._head = Head(folder, part)

    def score(self, pixels: NDArray[np.uint8]) -> Floats:
        """Score pixels `(images, size, size, 3)`; returns shape `(images, classes)`."""
        return self._head.score(self._backbone.score([*pixels]))

    def features(self, pixels: NDArray[np.uint8]) -> Features:
        """Compute features as they are kept; only for a release with an extractor."""
        return halved(self._backbone.score([*pixels]))

    def score_features(self, features: Features) -> Floats:
        """Score features of the release's extractor; returns shape `(images, classes)`."""
        return self._head.score(features)


@dataclass(frozen=True)
class LoadedRelease:
    """The models of one release, ready to score; `None` for those that it does not have."""

    manifest: ReleaseManifest
    text: TextModel | None
    image: ImageModel | None
    fusion: FusionModel | None

    @classmethod
    def load(cls, folder: Path) -> "LoadedRelease":
        """Load a folder. Raises `InvalidInput` if it is not a release."""
        manifest = ReleaseManifest.read(folder)
        has_both = len(manifest.modalities) > 1
        return cls(
            manifest=manifest,
            text=TextModel(folder, manifest.text) if manifest.text else None,
            image=ImageModel(folder, manifest.image) if manifest.image else None,
            fusion=FusionModel.load(folder / "fusion") if has_both else None,
        )

    def score_texts(self, rows: pd.DataFrame) -> Floats:
        """Probabilities of rows with `designation` and `description`, `(rows, classes)`.

        Raises:
            ModalityNotInRelease: The release has no text model.
        """
        if self.text is None:
            raise ModalityNotInRelease(f"Release {self.manifest.name!r} has no text model")
        pairs = zip(rows["designation"], rows["description"], strict=True)
        texts = [product_text(title, body) for title, body in pairs]
        order = np.argsort([len(text) for text in texts], kind="stable")
        scores = np.zeros((len(texts), len(self.manifest.categories)), np.float32)
        for start in range(0, len(texts), TEXT_BATCH):
            chosen = order[start : start + TEXT_BATCH]
            scores[chosen] = self.text.score([texts[i] for i in chosen])
        return scores

    def score_images(self, rows: pd.DataFrame) -> Floats:
        """Probabilities of rows with a `image`, `(rows, classes)`; equal where unreadable.

        Raises:
            ModalityNotInRelease: The release has no image model.
        """
        part = self.manifest.image_part
        if self.image is None:
            raise ModalityNotInRelease(f"Release {self.manifest.name!r} has no image model")
        classes = len(self.manifest.categories)
        scores = np.full((len(rows), classes), 1 / classes, np.float32)
        for positions, pixels in read_images(rows, part.size):
            scores[positions] = self.image.score(pixels)
        return scores


def release_digest(folder: Path) -> str:
    """SHA-256 over what decides a release's answers: equal for equal models, whenever made."""
    manifest = ReleaseManifest.read(folder)
    said = manifest.model_dump_json(include={"format", "categories", "text", "image"})
    digest = hashlib.sha256(said.encode())
    for part in PARTS:
        for path in sorted(path for path in (folder / part).rglob("*") if path.is_file()):
            digest.update(str(path.relative_to(folder)).encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def read_images(rows: pd.DataFrame, size: int) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """Read images a few at a time; those that cannot be read are left out.

    Yields:
        Positions in `rows`, and pixels of shape `(positions, size, size, 3)`.
    """
    waiting: list[tuple[int, NDArray[np.uint8]]] = []
    for position, path in enumerate(rows["image"]):
        try:
            waiting.append((position, prepare(read_image(path), size)))
        except (ImageUnreadable, NotFound):
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


def _cores() -> int:
    return os.cpu_count() or 1
