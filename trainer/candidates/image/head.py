"""What every image candidate shares: a frozen backbone by ONNX Runtime, and a fitted head on it.

Image features are computed once per backbone and stored; see `trainer.release.image_features`.
"""

from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import onnx
from keras import layers
from onnx import TensorProto, helper

from shared.inference.manifest import IMAGE_INPUT
from shared.inference.releases.image_model import Features
from trainer.candidates.onnx.conversion import as_onnx
from trainer.candidates.onnx.graph import Graph, Storage
from trainer.candidates.protocols import Floats, Images, Labels, Workshop

BACKBONE, HEAD = "backbone.onnx", "head.keras"
#: Images whose features are in full precision at once, beside those of a batch.
PIECE = 1024


@dataclass(frozen=True)
class HeadSettings:
    """What was chosen for the head, on validation rows."""

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
    code: tuple[str, ...] = ("trainer.candidates.image.head",)

    @property
    def network(self) -> str:
        """What its features are kept under."""
        return self.name

    def build(self, weights: Path | None) -> keras.Model:
        """Build the backbone: pixels 0 to 255 in, features `(batch, features)` out."""
        raise NotImplementedError

    def missing(self, workshop: Workshop) -> str | None:
        """Say which file of weights is not there."""
        if workshop.weights is None or (workshop.weights / self.weights_file).exists():
            return None
        return f"Expected {self.weights_file} in the folder of weights. Received: none"

    def fit(self, images: Images, labels: Labels, folder: Path, workshop: Workshop) -> None:
        """Compute the features that are not known yet, and fit the head."""
        if not (folder / BACKBONE).exists():
            self.place(folder / BACKBONE, workshop)
        features = images.features(self.network, folder / BACKBONE, self.size)
        fit_head(self.name, features, labels, self.settings, workshop).save(folder / HEAD)

    def predict(self, images: Images, folder: Path) -> Floats:
        """Logits, shape `(len(images), classes)`."""
        return predict_logits(folder, images.features(self.network, folder / BACKBONE, self.size))

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the head."""
        return export_head(graph, folder)

    def place(self, path: Path, workshop: Workshop) -> None:
        """Write the backbone as it serves."""
        file = None if workshop.weights is None else workshop.weights / self.weights_file
        export_backbone(self.build(file), self.size, path, workshop.storage)


def export_backbone(
    backbone: keras.Model, size: int, path: Path, storage: Storage, output: str = "features"
) -> None:
    """Write a backbone as it serves: `images` uint8 `(batch, size, size, 3)` to `features`.

    Training reads the features of this very file, so what 8-bit weights cost is in every figure.
    """
    model = as_onnx(backbone, size)
    graph = Graph(storage)
    pixels = graph.add("Cast", IMAGE_INPUT, to=TensorProto.FLOAT)
    found = graph.embed(model, {model.graph.input[0].name: pixels})[0]
    graph.add("Identity", found, name=output)
    shape = [dimension.dim_value for dimension in model.graph.output[0].type.tensor_type.shape.dim]
    exported = graph.model(
        [helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.UINT8, ["batch", size, size, 3])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", *shape[1:]])],
    )
    aside = path.with_suffix(".new")
    onnx.save(exported, aside)
    aside.replace(path)


class Batches(keras.utils.PyDataset):
    """Features and labels in batches, in another order each epoch.

    Keras would copy an array whole, in full precision: 1.1 GB for the images of the challenge.

    Args:
        features: Shape `(images, features)`; may lie on disk.
        labels: Of the images.
        batch: Images in one.
        seed: Decides the order.
    """

    def __init__(self, features: Features | Floats, labels: Labels, batch: int, seed: int) -> None:
        super().__init__()
        self._features, self._labels, self._batch = features, labels, batch
        self._generator = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._features) // self._batch)

    def __getitem__(self, place: int) -> tuple[Floats, Floats, Floats]:
        """Features `(batch, features)`, one-hot labels `(batch, classes)`, weights `(batch,)`."""
        chosen = self._order[place * self._batch : (place + 1) * self._batch]
        return (
            self._features[chosen].astype(np.float32),
            np.eye(self._labels.classes, dtype=np.float32)[self._labels.targets[chosen]],
            self._labels.weights[chosen],
        )

    def on_epoch_end(self) -> None:
        """Shuffle."""
        self._order = self._generator.permutation(len(self._features))


def build_head(features: Features | Floats, classes: int, settings: HeadSettings) -> keras.Model:
    """Build a head whose first layer brings features to mean 0 and variance 1."""
    normalize = layers.Normalization(name="normalize")
    normalize.adapt(
        features[start : start + PIECE].astype(np.float32)
        for start in range(0, len(features), PIECE)
    )
    return keras.Sequential(
        [
            keras.Input((features.shape[1],)),
            normalize,
            layers.Dropout(settings.dropout),
            layers.Dense(settings.hidden, activation="relu"),
            layers.Dropout(settings.dropout),
            layers.Dense(classes),
        ],
        name="head",
    )


def fit_head(
    name: str,
    features: Features | Floats,
    labels: Labels,
    settings: HeadSettings,
    workshop: Workshop,
) -> keras.Model:
    """Fit a head on features `(images, features)`; it gives logits `(images, classes)`."""
    keras.utils.set_random_seed(workshop.seed)
    head = build_head(features, labels.classes, settings)
    batches = Batches(features, labels, settings.batch, workshop.seed)
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
        workshop.curve(f"{name}_loss", epoch + 1, float(loss))
    workshop.tell(f"{name}: head fitted on {len(features)} images")
    return head


def predict_logits(folder: Path, features: Features) -> Floats:
    """Logits of the head in a folder, shape `(images, classes)`."""
    head = keras.models.load_model(folder / HEAD)
    logits = np.zeros((len(features), head.output_shape[1]), np.float32)
    for start in range(0, len(features), PIECE):
        piece = features[start : start + PIECE].astype(np.float32)
        logits[start : start + PIECE] = head(piece, training=False).numpy()
    return logits


def export_head(graph: Graph, folder: Path) -> str:
    """Add the head that reads `features`; the normalisation is folded into its first layer."""
    head = keras.models.load_model(folder / HEAD)
    normalize, first, last = (
        layer for layer in head.layers if not isinstance(layer, layers.Dropout)
    )
    mean = np.asarray(normalize.mean, np.float32).reshape(-1)
    spread = np.sqrt(np.asarray(normalize.variance, np.float32)).reshape(-1)
    spread = np.maximum(spread, keras.config.epsilon())
    kernel, bias = first.get_weights()
    hidden = graph.dense(
        "features", kernel / spread[:, None], (bias - (mean / spread) @ kernel).astype(np.float32)
    )
    return graph.dense(graph.add("Relu", hidden), *last.get_weights())
