"""Image model of a release, as a `Scorer`."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from shared.inference.manifest import ImagePart, ReleaseManifest
from shared.inference.releases.access import ReleaseReader
from shared.inference.releases.image_model import Backbone, Floats, Head, Pixels
from shared.inference.serving.loading import Loads

#: Heads kept in memory, a few megabytes each; no more releases than this are in use at once.
KEPT_HEADS = 8


class ImageScorer:
    """Computes features of prepared images; probabilities if the release has no extractor.

    Args:
        folder: Folder of a release.
        manifest: Manifest of that release.
        backbones: Source of the backbone, shared by releases.
    """

    def __init__(self, folder: Path, manifest: ReleaseManifest, backbones: "Backbones") -> None:
        self._backbone = backbones.open(folder, manifest.image_part)

    def score(self, items: Sequence[Pixels]) -> Floats:
        """Return the features of pixels `(size, size, 3)`, shape `(batch, features)`."""
        return self._backbone.score(items)


class Backbones:
    """Opens and warms up backbones; releases with the same extractor share one.

    Args:
        threads: Threads of one model call.
    """

    def __init__(self, *, threads: int) -> None:
        self._threads = threads
        self._open: WeakValueDictionary[str, Backbone] = WeakValueDictionary()
        self._lock = threading.Lock()

    def open(self, folder: Path, part: ImagePart) -> Backbone:
        """Return the backbone of a release, opened if necessary."""
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
    """Heads by release, opened at the first request."""

    def __init__(self, registry: ReleaseReader) -> None:
        self._registry = registry
        self._opened = lru_cache(KEPT_HEADS)(self._open)
        #: Failed loads of heads.
        self.loads = Loads("head")

    def of(self, version: str) -> Head:
        """Return the head of a release.

        Raises:
            NotFound: The registry has no such version.
            ModalityNotInRelease: The version has no image model.
            ReleaseUnloadable: The version cannot be loaded here for now.
        """
        return self._opened(version)

    def codes(self, version: str) -> Sequence[int]:
        """Return the codes of a release's categories, in the order of its probabilities.

        Raises:
            NotFound: The registry has no such version.
        """
        return self._registry.manifest(version).category_set.codes

    def _open(self, version: str) -> Head:
        with self.loads.loading(version):
            part = self._registry.manifest(version).image_part
            return Head(self._registry.folder(version), part)
