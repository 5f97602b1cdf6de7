"""Protocols of candidate models.

A candidate keeps its fitted state in a folder of its own, so a finished fit is not repeated and an
interrupted run continues. To add a candidate: write a module under `trainer/candidates/text`,
`image` or `fusion`, and add a line to `TEXT`, `IMAGES` or `FUSION` in
`trainer/candidates/registry.py`. A step is recomputed when the candidate's module, or any module
that it imports, is edited; see `trainer.pipeline.source_closure`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.inference.manifest import Ngrams
from shared.inference.releases.image_model import Features
from trainer.candidates.onnx.graph import Graph, Storage

Floats = NDArray[np.float32]
Targets = NDArray[np.int64]
LogLine = Callable[[str], None]
#: Numbers that the convolutions of image networks compute with.
Arithmetic = Literal["float", "int8"]
#: `full`: all candidates. `quick`: those that are fitted in seconds, for a shop's first release.
Lineup = Literal["quick", "full"]
#: Rows that a final fit learns from, beside those of the first fit. `test`: `validation` too.
FinalRows = Literal["none", "validation", "test"]


@dataclass(frozen=True)
class Labels:
    """True categories of some rows.

    Attributes:
        targets: Column numbers, shape `(rows,)`.
        weights: Weight of each row, shape `(rows,)`; 1 for an official label.
        classes: Number of categories.
        soft: Probabilities by a teacher, shape `(rows, classes)`; `None` without a teacher.
    """

    targets: Targets
    weights: Floats
    classes: int
    soft: Floats | None = None

    @property
    def is_official(self) -> NDArray[np.bool_]:
        """Mask of the rows with an official label, shape `(rows,)`."""
        return self.weights >= 1

    @property
    def digest(self) -> str:
        """Hash of the labels and weights, for the keys of steps."""
        soft = b"" if self.soft is None else self.soft.tobytes()
        content = self.targets.tobytes() + self.weights.tobytes() + soft
        return hashlib.sha256(content).hexdigest()

    def take(self, places: NDArray[np.int64]) -> "Labels":
        """Return the labels of some rows."""
        soft = None if self.soft is None else self.soft[places]
        return Labels(self.targets[places], self.weights[places], self.classes, soft)

    def distributions(self, places: NDArray[np.int64], share: float) -> Floats:
        """Return what a model learns of some rows, shape `(places, classes)`.

        Args:
            places: Positions of the rows.
            share: Share of the teacher's probabilities; the rest is the label.
        """
        hard = np.eye(self.classes, dtype=np.float32)[self.targets[places]]
        return hard if self.soft is None else (1 - share) * hard + share * self.soft[places]


@dataclass(frozen=True)
class FitContext:
    """The part of a training run's context that candidates may use.

    Attributes:
        seed: Seed of all random numbers.
        weights: Folder with ImageNet weights; `None` lets Keras download its own.
        storage: Number format of the weights in exported models.
        log_line: Called with a progress line from time to time.
        curve: Called with a name, a step and a value after each epoch.
        arithmetic: Arithmetic of image networks to try first.
    """

    seed: int
    weights: Path | None
    storage: Storage
    log_line: LogLine
    curve: Callable[[str, int, float], None]
    arithmetic: Arithmetic = "float"


class SelfContained:
    """A candidate that needs no file of the folder of weights.

    Attributes:
        is_teacher: False: it is no better than those that would learn from it.
        refits: False: a vocabulary that it shares with others would change.
    """

    is_teacher: ClassVar[bool] = False
    refits: ClassVar[bool] = False

    def unavailable_reason(self, context: FitContext) -> str | None:
        """Return `None`: it can be tried everywhere."""
        return None

    def pretrained(self, context: FitContext) -> str:
        """Return an empty name: it starts from no pretrained files."""
        return ""


class TextCandidate(Protocol):
    """A text model."""

    @property
    def name(self) -> str:
        """Name in logs, files and the leaderboard."""

    @property
    def settings(self) -> Any:
        """Dataclass of hyperparameters; logged, and part of the keys of steps."""

    @property
    def is_teacher(self) -> bool:
        """True if models that are cheaper to serve should learn from its answers."""

    @property
    def refits(self) -> bool:
        """True if it takes part in the final fit: it is fitted in minutes, by itself."""

    def unavailable_reason(self, context: FitContext) -> str | None:
        """Return the reason why it cannot be tried here; `None` if it can."""

    def pretrained(self, context: FitContext) -> str:
        """Return a name for the pretrained files that it starts from, for the keys of steps."""

    def prepare(self, texts: Sequence[str], folder: Path, context: FitContext) -> None:
        """Learn state that needs no labels, such as a vocabulary."""

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        folder: Path,
        prepared: Path,
        context: FitContext,
    ) -> None:
        """Fit on prepared texts and keep the fitted state in `folder`."""

    def predict(self, texts: Sequence[str], folder: Path) -> Floats:
        """Return logits, shape `(len(texts), classes)`."""

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the model to a graph; return the name of its logits `(batch, classes)`."""

    def reads(self, folder: Path) -> "TextReads":
        """Return the inputs that the worker must compute from a text for this model."""


@dataclass(frozen=True)
class TextReads:
    """Inputs of a text model; the candidates pooled in one release must agree.

    Attributes:
        tokenizer: Tokenizer of the input `tokens`, if the model has it.
        max_tokens: Most tokens of a text.
        ngrams: Parameters of the n-gram inputs.
        encoder_tokenizer: Tokenizer of the input `encoder_tokens`, if the model has it.
        encoder_tokens: Most tokens of a text in that input.
    """

    tokenizer: Path | None = None
    max_tokens: int | None = None
    ngrams: Ngrams | None = None
    encoder_tokenizer: Path | None = None
    encoder_tokens: int | None = None


class ImageCandidate(Protocol):
    """An image model: a backbone from pixels to features, and a head on the features."""

    @property
    def name(self) -> str:
        """Name in logs, files and the leaderboard."""

    @property
    def settings(self) -> Any:
        """Dataclass of hyperparameters; logged, and part of the keys of steps."""

    @property
    def size(self) -> int:
        """Side of the input images, in pixels."""

    @property
    def network(self) -> str:
        """Name under which the features of the backbone are stored."""

    @property
    def refits(self) -> bool:
        """True if it takes part in the final fit: it keeps its backbone, and fits a head."""

    def unavailable_reason(self, context: FitContext) -> str | None:
        """Return the reason why it cannot be tried here; `None` if it can."""

    def fit(self, images: "Images", labels: Labels, folder: Path, context: FitContext) -> None:
        """Fit, and keep `backbone.onnx` and the head in `folder`."""

    def predict(self, images: "Images", folder: Path) -> Floats:
        """Return logits, shape `(len(images), classes)`."""

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the head to a graph that reads `features`; return the name of its logits."""


class Images(Protocol):
    """Readable images of some rows."""

    def __len__(self) -> int:
        """Return the number of images."""

    def take(self, places: NDArray[np.int64]) -> "Images":
        """Return the images at some positions."""

    def pixels(self, size: int, most: int) -> NDArray[np.uint8]:
        """Decode some images, spread over all, shape `(at most most, size, size, 3)`."""

    def decoded(self, places: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """Decode the images at some positions, shape `(places, size, size, 3)`."""

    def features(self, name: str, backbone: Path, size: int) -> Features:
        """Return the features of a backbone, shape `(images, features)`; computed once and kept."""

    def maps(self, trunk: Path, size: int, path: Path) -> "Maps":
        """Compute the outputs of a part of a network, on disk, `(images, height, width, channels)`.

        An interrupted computation continues.
        """


class Maps(Protocol):
    """Feature maps of images, too large for memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(images, height, width, channels)`."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, chosen: slice | NDArray[np.int64]) -> Features:
        """Read some maps into memory."""
