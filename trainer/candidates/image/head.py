"""Shared parts of image candidates: a frozen backbone in ONNX Runtime, and a fitted head.

Image features are computed once per backbone and stored; see `trainer.release.image_features`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np
from keras import layers

from shared.inference.releases.image_model import Features
from trainer.candidates.image.backbone import BACKBONE, place_backbone
from trainer.candidates.onnx.graph import Graph
from trainer.candidates.protocols import FitContext, Floats, Images, Labels

HEAD = "head.keras"
#: Number of images whose features are converted to full precision at once.
PIECE = 1024
#: Features that deviate less than this share of the median deviation are constant. Most often they
#: differ by the rounding of half precision only, and plain studio images have many: amplified to
#: the deviation of the others, one of them would decide the answer of an image that is not plain.
CONSTANT_SHARE = 0.01
#: Smallest deviation, as a share of the mean, that half precision can represent.
ROUNDING = 2.0**-10


@dataclass(frozen=True)
class HeadSettings:
    """Hyperparameters of the head, chosen on validation rows."""

    hidden: int = 512
    dropout: float = 0.5
    epochs: int = 30
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1


@dataclass(frozen=True)
class FrozenBackbone:
    """A candidate whose backbone keeps its ImageNet weights; only the head is fitted."""

    name: str
    size: int
    weights_file: str
    settings: HeadSettings = field(default_factory=HeadSettings)
    refits: ClassVar[bool] = True

    @property
    def network(self) -> str:
        """Name under which the features are stored."""
        return self.name

    def build(self, weights: Path | None) -> keras.Model:
        """Build the backbone: pixels 0 to 255 to features `(batch, features)`."""
        raise NotImplementedError

    def unavailable_reason(self, context: FitContext) -> str | None:
        """Return the reason if the file of weights is missing."""
        if context.weights is None or (context.weights / self.weights_file).exists():
            return None
        return f"Expected {self.weights_file} in the folder of weights. Received: none"

    def fit(self, images: Images, labels: Labels, folder: Path, context: FitContext) -> None:
        """Compute the missing features, and fit the head."""
        if not (folder / BACKBONE).exists():
            self.place(folder / BACKBONE, images, context)
        features = images.features(self.network, folder / BACKBONE, self.size)
        fit_head(self.name, features, labels, self.settings, context).save(folder / HEAD)

    def predict(self, images: Images, folder: Path) -> Floats:
        """Return logits, shape `(len(images), classes)`."""
        return predict_logits(folder, images.features(self.network, folder / BACKBONE, self.size))

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the head to the graph."""
        return export_head(graph, folder)

    def place(self, path: Path, images: Images, context: FitContext) -> None:
        """Write the backbone in its served form."""
        file = None if context.weights is None else context.weights / self.weights_file
        place_backbone(self.name, self.build(file), self.size, path, images, context)


class Batches(keras.utils.PyDataset):
    """Batches of features and labels, in a new order each epoch.

    Keras would copy the whole array in full precision: 1.1 GB for the images of the challenge.

    Args:
        features: Shape `(images, features)`; may be a memory-mapped file.
        labels: Labels of the images.
        batch: Number of images in a batch.
        seed: Seed of the order.
    """

    def __init__(self, features: Features | Floats, labels: Labels, batch: int, seed: int) -> None:
        super().__init__()
        self._features, self._labels, self._batch = features, labels, batch
        self._generator = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._features) // self._batch)

    def __getitem__(self, place: int) -> tuple[Floats, Floats, Floats]:
        """Return features `(batch, features)`, one-hot labels and weights `(batch,)`."""
        chosen = self._order[place * self._batch : (place + 1) * self._batch]
        return (
            self._features[chosen].astype(np.float32),
            np.eye(self._labels.classes, dtype=np.float32)[self._labels.targets[chosen]],
            self._labels.weights[chosen],
        )

    def on_epoch_end(self) -> None:
        """Shuffle the images."""
        self._order = self._generator.permutation(len(self._features))


def build_head(features: Features | Floats, classes: int, settings: HeadSettings) -> keras.Model:
    """Build a head whose first layer standardises features: see `standardisation`."""
    scale, offset = standardisation(features)
    return keras.Sequential(
        [
            keras.Input((features.shape[1],)),
            layers.Rescaling(scale.tolist(), offset.tolist(), name="standardise"),
            layers.Dropout(settings.dropout),
            layers.Dense(settings.hidden, activation="relu"),
            layers.Dropout(settings.dropout),
            layers.Dense(classes),
        ],
        name="head",
    )


def standardisation(features: Features | Floats) -> tuple[Floats, Floats]:
    """Return the scale and offset of each feature for mean 0 and variance 1, shape `(features,)`.

    Both are 0 for a feature that is constant, or as good as constant: it becomes 0.
    """
    total, squares = np.zeros((2, features.shape[1]))
    for start in range(0, len(features), PIECE):
        piece = features[start : start + PIECE].astype(np.float64)
        total += piece.sum(axis=0)
        squares += (piece**2).sum(axis=0)
    mean = total / len(features)
    deviation = np.sqrt(np.maximum(squares / len(features) - mean**2, 0))
    varying = deviation[deviation > ROUNDING * np.abs(mean)]
    least = np.maximum(
        ROUNDING * np.abs(mean), CONSTANT_SHARE * np.median(varying) if len(varying) else np.inf
    )
    scale = np.where(deviation > least, 1 / np.maximum(deviation, 1e-12), 0.0)
    return scale.astype(np.float32), (-mean * scale).astype(np.float32)


def fit_head(
    name: str,
    features: Features | Floats,
    labels: Labels,
    settings: HeadSettings,
    context: FitContext,
) -> keras.Model:
    """Fit a head from features `(images, features)` to logits `(images, classes)`."""
    keras.utils.set_random_seed(context.seed)
    head = build_head(features, labels.classes, settings)
    batches = Batches(features, labels, settings.batch, context.seed)
    head.compile(
        optimizer=keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                settings.learning_rate, len(batches) * settings.epochs
            ),
            weight_decay=settings.weight_decay,
        ),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=settings.label_smoothing
        ),
    )
    history = head.fit(batches, epochs=settings.epochs, shuffle=False, verbose=0)
    for epoch, loss in enumerate(history.history["loss"]):
        context.curve(f"{name}_loss", epoch + 1, float(loss))
    context.log_line(f"{name}: head fitted on {len(features)} images")
    return head


def predict_logits(folder: Path, features: Features) -> Floats:
    """Return the logits of the head in a folder, shape `(images, classes)`."""
    head = keras.models.load_model(folder / HEAD)
    logits = np.zeros((len(features), head.output_shape[1]), np.float32)
    for start in range(0, len(features), PIECE):
        piece = features[start : start + PIECE].astype(np.float32)
        logits[start : start + PIECE] = head(piece, training=False).numpy()
    return logits


def export_head(graph: Graph, folder: Path) -> str:
    """Add the head.

    Features are standardised before the first dense layer: folded into its weights, those of
    features of small deviation would take the range of all others in 8 bits.
    """
    head = keras.models.load_model(folder / HEAD)
    standardise, first, last = (
        layer for layer in head.layers if not isinstance(layer, layers.Dropout)
    )
    scaled = graph.add("Mul", "features", _constant(graph, standardise.scale))
    standard = graph.add("Add", scaled, _constant(graph, standardise.offset))
    hidden = graph.dense(standard, *first.get_weights())
    return graph.dense(graph.add("Relu", hidden), *last.get_weights())


def _constant(graph: Graph, values: Sequence[float]) -> str:
    return graph.constant(np.asarray(values, np.float32))
