"""The image model behind the scorer protocol."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from shared.inference.manifest import ImagePart, ReleaseManifest
from shared.inference.releases.access import ReleaseReader
from shared.inference.releases.image_model import Backbone, Floats, Head, Pixels

#: Heads are a few megabytes each; more releases than these are never asked for at once.
KEPT_HEADS = 8


class ImageScorer:
    """Prepared images in; features out, or probabilities where a release has no extractor.

    Args:
        folder: A release.
        manifest: What the release says of itself.
        backbones: Where the backbone comes from.
    """

    def __init__(self, folder: Path, manifest: ReleaseManifest, backbones: "Backbones") -> None:
        self._backbone = backbones.open(folder, manifest.image_part)

    def score(self, items: Sequence[Pixels]) -> Floats:
        """Score a batch of pixels `(size, size, 3)`; returns shape `(batch, features)`."""
        return self._backbone.score(items)


class Backbones:
    """Opens backbones and warms them up; releases with the same extractor share one.

    Args:
        threads: Threads of one model call.
    """

    def __init__(self, *, threads: int) -> None:
        self._threads = threads
        self._open: WeakValueDictionary[str, Backbone] = WeakValueDictionary()
        self._lock = threading.Lock()

    def open(self, folder: Path, part: ImagePart) -> Backbone:
        """Open the backbone of a release, unless it is open."""
        with self._lock:
            known = self._open.get(part.extractor) if part.extractor else None
            if known is not None:
                return known
            backbone = Backbone(folder, part, threads=self._threads)
            backbone.score([np.zeros((part.size, part.size, 3), np.uint8)])
            if part.extractor:
                self._open[part.extractor] = backbone
            return backbone


class Heads:
    """Heads by release, opened when they are first asked for."""

    def __init__(self, registry: ReleaseReader) -> None:
        self._registry = registry
        self._opened = lru_cache(KEPT_HEADS)(self._open)

    def of(self, version: str) -> Head:
        """Return the head of a release.

        Raises:
            NotFound: The registry has no such version.
            ModalityNotInRelease: The version has no image model.
            Unavailable: The version is not here and the registry does not answer.
        """
        return self._opened(version)

    def _open(self, version: str) -> Head:
        part = self._registry.manifest(version).image_part
        return Head(self._registry.folder(version), part)
