"""A release folder, loaded with the code that the workers use."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import ImageUnreadable, ModalityNotInRelease, NotFound
from shared.inference.manifest import ImagePart, ReleaseManifest, TextPart
from shared.inference.onnx_session import open_session
from shared.inference.preparation.decoders import prepare
from shared.inference.preparation.text import TextInputs, product_text
from shared.inference.releases.fusion_model import FusionModel
from shared.inference.releases.image_model import Backbone, Features, Head, halved
from shared.skipping import skipping
from trainer.datasets.images import read_image

Floats = NDArray[np.float32]

#: Folders of a release's models.
PARTS = ("text", "image", "fusion")
TEXT_BATCH = 64
#: Number of images in one call; Xception on a CPU is slower in larger batches.
IMAGE_BATCH = 1


class TextModel:
    """Text model of a release, from prepared texts to probabilities."""

    def __init__(self, folder: Path, part: TextPart) -> None:
        self._inputs = TextInputs.load(folder / "text", part)
        self._session = open_session(folder / "text/model.onnx", threads=_cores())

    def score(self, texts: Sequence[str]) -> Floats:
        """Score prepared texts; return shape `(texts, classes)`."""
        found: Floats = self._session.run(["probabilities"], self._inputs.of(texts))[0]
        return found


class ImageModel:
    """Image model of a release, from pixels to features to probabilities."""

    def __init__(self, folder: Path, part: ImagePart) -> None:
        self._backbone = Backbone(folder, part, threads=_cores())
        self._head = Head(folder, part)

    def score(self, pixels: NDArray[np.uint8]) -> Floats:
        """Score pixels `(images, size, size, 3)`; return shape `(images, classes)`."""
        return self._head.score(self._backbone.score([*pixels]))

    def features(self, pixels: NDArray[np.uint8]) -> Features:
        """Compute features in their stored form; only for a release with an extractor."""
        return halved(self._backbone.score([*pixels]))

    def score_features(self, features: Features) -> Floats:
        """Score features of the release's extractor; return shape `(images, classes)`."""
        return self._head.score(features)


@dataclass(frozen=True)
class LoadedRelease:
    """Models of one release, ready to score; `None` for those that it lacks."""

    manifest: ReleaseManifest
    text: TextModel | None
    image: ImageModel | None
    fusion: FusionModel | None

    @classmethod
    def load(cls, folder: Path) -> "LoadedRelease":
        """Load a release folder. Raises `InvalidInput` if it is not one."""
        manifest = ReleaseManifest.read(folder)
        has_both = len(manifest.modalities) > 1
        return cls(
            manifest=manifest,
            text=TextModel(folder, manifest.text) if manifest.text else None,
            image=ImageModel(folder, manifest.image) if manifest.image else None,
            fusion=FusionModel.load(folder / "fusion") if has_both else None,
        )

    def score_texts(self, rows: pd.DataFrame) -> Floats:
        """Score rows with `designation` and `description`; return shape `(rows, classes)`.

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
        """Score rows with an `image`; return shape `(rows, classes)`, uniform if unreadable.

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
    """Return a SHA-256 over everything that decides a release's answers.

    It does not depend on the time or place of the training.
    """
    manifest = ReleaseManifest.read(folder)
    content = manifest.model_dump_json(include={"format", "categories", "text", "image"})
    digest = hashlib.sha256(content.encode())
    for part in PARTS:
        for path in sorted(path for path in (folder / part).rglob("*") if path.is_file()):
            digest.update(str(path.relative_to(folder)).encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def read_images(rows: pd.DataFrame, size: int) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """Read images in batches; unreadable ones are skipped.

    Yields:
        Positions in `rows`, and pixels of shape `(positions, size, size, 3)`.
    """
    waiting: list[tuple[int, NDArray[np.uint8]]] = []
    for position, path in enumerate(rows["image"]):
        with skipping("scoring", path), suppress(ImageUnreadable, NotFound):
            waiting.append((position, prepare(read_image(path), size)))
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
