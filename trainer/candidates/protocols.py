"""What a model must do to be a candidate, and the list of those that a run tries.

A candidate keeps what it learned in a folder of its own; so a fit that is done once need not be
repeated, and a stopped run goes on where it was. To add one: write a module under
`trainer/models/`, and add a line to `TEXT`, `IMAGES` or `FUSION` in
`trainer/candidates/registry.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.inference.manifest import Ngrams
from shared.inference.releases.image_model import Features
from trainer.candidates.onnx.graph import Graph, Storage

Floats = NDArray[np.float32]
Targets = NDArray[np.int64]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Labels:
    """True categories of some rows.

    Attributes:
        targets: Column numbers, shape `(rows,)`.
        weights: How much each row counts, shape `(rows,)`; 1 for an official label.
        classes: Number of categories.
    """

    targets: Targets
    weights: Floats
    classes: int

    @property
    def is_official(self) -> NDArray[np.bool_]:
        """Which rows have an official label, shape `(rows,)`."""
        return self.weights >= 1

    def take(self, places: NDArray[np.int64]) -> "Labels":
        """Those of some rows."""
        return Labels(self.targets[places], self.weights[places], self.classes)


@dataclass(frozen=True)
class Workshop:
    """What a fit may use beside its data.

    Attributes:
        seed: Everything random follows from it.
        weights: Folder with ImageNet weights; `None`: Keras fetches its own.
        storage: How weights are kept in exported models.
        tell: Called with a line now and then.
        curve: Called with a name, a step and a value after each epoch.
    """

    seed: int
    weights: Path | None
    storage: Storage
    tell: Tell
    curve: Callable[[str, int, float], None]


class TextCandidate(Protocol):
    """A model of texts."""

    @property
    def name(self) -> str:
        """For people and files."""

    @property
    def settings(self) -> Any:
        """A dataclass of what was chosen; part of the parameters that are logged."""

    @property
    def code(self) -> tuple[str, ...]:
        """Modules whose source decides the result."""

    def prepare(self, texts: Sequence[str], folder: Path, workshop: Workshop) -> None:
        """Learn what does not need labels, such as a vocabulary."""

    def fit(
        self, texts: Sequence[str], labels: Labels, folder: Path, prepared: Path, workshop: Workshop
    ) -> None:
        """Fit on prepared texts and keep everything in `folder`."""

    def predict(self, texts: Sequence[str], folder: Path) -> Floats:
        """Logits, shape `(len(texts), classes)`."""

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the model to a graph; returns the name of its logits `(batch, classes)`."""

    def reads(self, folder: Path) -> "TextReads":
        """What the worker must make of a text for this model."""


@dataclass(frozen=True)
class TextReads:
    """Inputs of a text model; those that stand together in a release must agree."""

    tokenizer: Path | None = None
    max_tokens: int | None = None
    ngrams: Ngrams | None = None


class ImageCandidate(Protocol):
    """A model of images: a backbone from pixels to features, and a head on them."""

    @property
    def name(self) -> str:
        """For people and files."""

    @property
    def settings(self) -> Any:
        """A dataclass of what was chosen; part of the parameters that are logged."""

    @property
    def code(self) -> tuple[str, ...]:
        """Modules whose source decides the result."""

    @property
    def size(self) -> int:
        """Edge of the images that it reads, in pixels."""

    @property
    def network(self) -> str:
        """What the features of its backbone are kept under."""

    def missing(self, workshop: Workshop) -> str | None:
        """Why it cannot be tried here, if so."""

    def fit(self, images: "Images", labels: Labels, folder: Path, workshop: Workshop) -> None:
        """Fit, and keep `backbone.onnx` and the head in `folder`."""

    def predict(self, images: "Images", folder: Path) -> Floats:
        """Logits, shape `(len(images), classes)`."""

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the head to a graph that reads `features`; returns the name of its logits."""


class Images(Protocol):
    """Readable images of some rows."""

    def __len__(self) -> int:
        """How many."""

    def take(self, places: NDArray[np.int64]) -> "Images":
        """Some of them."""

    def features(self, name: str, backbone: Path, size: int) -> Features:
        """What a backbone makes of them, shape `(images, features)`; computed once and kept."""

    def maps(self, trunk: Path, size: int, path: Path) -> "Maps":
        """What a part of a network makes of them, on disk, `(images, height, width, channels)`.

        A computation that was stopped goes on where it was.
        """


class Maps(Protocol):
    """Arrays of images, too large for the memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(images, height, width, channels)`."""

    def __len__(self) -> int:
        """How many images."""

    def __getitem__(self, chosen: slice | NDArray[np.int64]) -> Features:
        """Read some into memory."""
