"""Xception with ImageNet weights: frozen, or with its last block fine-tuned.

Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017). The output of
all layers before the last block is computed once for each image and kept on disk, so fine-tuning
costs two matrix products an image instead of the whole network.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from shared.inference.manifest import IMAGE_INPUT
from trainer.candidates.image.backbone import BACKBONE, export_backbone, place_backbone
from trainer.candidates.image.head import (
    HEAD,
    FrozenBackbone,
    HeadSettings,
    export_head,
    fit_head,
    predict_logits,
)
from trainer.candidates.imagenet import with_weights
from trainer.candidates.onnx.graph import Graph
from trainer.candidates.protocols import FitContext, Floats, Images, Labels, Maps

SIZE = 299
WEIGHTS = "xception_imagenet_notop_fp16.npz"
#: File of the frozen part: all layers before the last block.
TRUNK = "trunk.onnx"
#: Layers of the last block.
TOP_LAYERS = (
    "block14_sepconv1",
    "block14_sepconv1_bn",
    "block14_sepconv1_act",
    "block14_sepconv2",
    "block14_sepconv2_bn",
    "block14_sepconv2_act",
)


@dataclass(frozen=True)
class TuningSettings:
    """Hyperparameters, chosen on validation rows."""

    head: HeadSettings = field(default_factory=HeadSettings)
    epochs: int = 3
    batch: int = 32
    top_learning_rate: float = 5e-5
    head_learning_rate: float = 2e-4
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1
    #: The frozen part's output takes 200 KB of disk an image; 85,000 images would take 17 GB.
    most_images: int = 20_000
    #: Parameter of the beta distribution of mixup (Zhang et al. 2018).
    mixup: float = 0.2


@dataclass(frozen=True)
class XceptionFrozen(FrozenBackbone):
    """Frozen features with a fitted head."""

    name: str = "image_xception"
    size: int = SIZE
    weights_file: str = WEIGHTS

    def build(self, weights: Path | None) -> keras.Model:
        """Build the backbone: pixels 0 to 255 `(batch, size, size, 3)` to `(batch, 2048)`."""
        return build_backbone(weights, self.size)


@dataclass(frozen=True)
class XceptionTuned:
    """Last block and head fitted together; the rest stays frozen."""

    name: str = "image_xception_tuned"
    size: int = SIZE
    settings: TuningSettings = field(default_factory=TuningSettings)
    refits: ClassVar[bool] = False

    @property
    def network(self) -> str:
        """Name under which the features are stored."""
        return self.name

    def unavailable_reason(self, context: FitContext) -> str | None:
        """Return the reason if the file of weights is missing."""
        return XceptionFrozen().unavailable_reason(context)

    def fit(self, images: Images, labels: Labels, folder: Path, context: FitContext) -> None:
        """Compute the outputs of the frozen part, then fit the last block and the head."""
        places = self._chosen(labels, context.seed)
        images, labels = images.take(places), labels.take(places)
        file = None if context.weights is None else context.weights / WEIGHTS
        network = build_network(file)
        trunk = network.get_layer(TOP_LAYERS[0]).input
        if not (folder / TRUNK).exists():
            pixels = keras.Input((SIZE, SIZE, 3), dtype="float32", name=IMAGE_INPUT)
            whole = keras.Model(network.input, trunk)
            frozen = keras.Model(pixels, whole(_scaled(pixels)))
            export_backbone(frozen, SIZE, folder / TRUNK, context.storage)
        maps = images.maps(folder / TRUNK, SIZE, folder / "maps.npy")
        top = _top(network, maps.shape[1:])
        # The gradients of an unfitted head would destroy what the block has learned.
        head = fit_head(self.name, _features(top, maps), labels, self.settings.head, context)
        self._fit_both(top, head, maps, labels, context)
        head.save(folder / HEAD)
        for name in TOP_LAYERS:
            if top.get_layer(name).get_weights():
                network.get_layer(name).set_weights(top.get_layer(name).get_weights())
        whole = _with_pixels(network, SIZE)
        place_backbone(self.name, whole, SIZE, folder / BACKBONE, images, context)
        # Several gigabytes that no later step reads.
        (folder / "maps.npy").unlink()

    def predict(self, images: Images, folder: Path) -> Floats:
        """Return logits, shape `(len(images), classes)`."""
        return predict_logits(folder, images.features(self.network, folder / BACKBONE, SIZE))

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the head to the graph."""
        return export_head(graph, folder)

    def _chosen(self, labels: Labels, seed: int) -> NDArray[np.int64]:
        """Return the images to fit on, in order; officially labelled ones take precedence."""
        chance = np.random.default_rng(seed).random(len(labels.targets))
        order = np.lexsort((chance, ~labels.is_official))
        return np.sort(order[: self.settings.most_images])

    def _fit_both(
        self,
        top: keras.Model,
        head: keras.Model,
        maps: Maps,
        labels: Labels,
        context: FitContext,
    ) -> None:
        settings = self.settings
        steps = -(-len(maps) // settings.batch) * settings.epochs
        step = _step(top, head, steps, settings)
        generator = np.random.default_rng(context.seed)
        truth = np.eye(labels.classes, dtype=np.float32)[labels.targets]
        for epoch in range(settings.epochs):
            order = generator.permutation(len(maps))
            losses = []
            for start in range(0, len(order), settings.batch):
                # Sorted, so that the file is read sequentially.
                chosen = np.sort(order[start : start + settings.batch])
                batch = maps[chosen].astype(np.float32), truth[chosen], labels.weights[chosen]
                losses.append(float(step(*_augmented(*batch, settings.mixup, generator))))
            loss = float(np.mean(losses))
            context.curve(f"{self.name}_loss", epoch + 1, loss)
            context.log_line(
                f"{self.name}: epoch {epoch + 1} of {settings.epochs}, loss {loss:.3f}"
            )


def build_network(weights: Path | None, size: int = SIZE) -> keras.Model:
    """Build Xception without its top: pixels from -1 to 1 to `(batch, 2048)`.

    Args:
        weights: File of arrays in `get_weights()` order; `None` downloads Keras's own.
        size: Side of the images, in pixels.

    Raises:
        WeightsMissing: Keras cannot download them.
    """

    def build(name: str | None) -> keras.Model:
        return keras.applications.Xception(
            weights=name, include_top=False, pooling="avg", input_shape=(size, size, 3)
        )

    return with_weights(build, weights, WEIGHTS)


def build_backbone(weights: Path | None, size: int = SIZE) -> keras.Model:
    """Build Xception in its served form: pixels 0 to 255 to `(batch, 2048)`."""
    return _with_pixels(build_network(weights, size), size)


def _with_pixels(network: keras.Model, size: int) -> keras.Model:
    pixels = keras.Input((size, size, 3), dtype="float32", name=IMAGE_INPUT)
    return keras.Model(pixels, network(_scaled(pixels)))


def _scaled(pixels: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)


def _top(network: keras.Model, shape: tuple[int, ...]) -> keras.Model:
    """Return a copy of the last block with frozen batch statistics."""
    maps = keras.Input(shape)
    value = maps
    for name in TOP_LAYERS:
        original = network.get_layer(name)
        layer = type(original).from_config(original.get_config())
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
        value = layer(value)
        if original.get_weights():
            layer.set_weights(original.get_weights())
    return keras.Model(maps, layers.GlobalAveragePooling2D()(value))


def _features(top: keras.Model, maps: Maps) -> Floats:
    forward = tf.function(lambda batch: top(batch, training=False), reduce_retracing=True)
    batches = (maps[start : start + 64].astype(np.float32) for start in range(0, len(maps), 64))
    return np.concatenate([forward(batch).numpy() for batch in batches])


def _augmented(
    maps: Floats, truth: Floats, weights: Floats, mixup: float, generator: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    if generator.random() < 0.5:
        maps = maps[:, :, ::-1]
    share = np.float32(generator.beta(mixup, mixup))
    other = generator.permutation(len(maps))

    def mixed(values: Floats) -> Floats:
        return share * values + (1 - share) * values[other]

    return mixed(maps), mixed(truth), mixed(weights)


def _step(
    top: keras.Model, head: keras.Model, steps: int, settings: TuningSettings
) -> tf.types.experimental.GenericFunction:
    def schedule(rate: float) -> keras.optimizers.schedules.LearningRateSchedule:
        warmup = max(1, steps // settings.epochs)
        return keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
        )

    below, above = top.trainable_variables, head.trainable_variables
    slow = keras.optimizers.Adam(schedule(settings.top_learning_rate), clipnorm=1.0)
    fast = keras.optimizers.AdamW(
        schedule(settings.head_learning_rate), weight_decay=settings.weight_decay, clipnorm=1.0
    )
    slow.build(below)
    fast.build(above)
    measure = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=settings.label_smoothing, reduction="none"
    )

    @tf.function(reduce_retracing=True)
    def step(maps: tf.Tensor, truth: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = head(top(maps, training=True), training=True)
            loss = tf.reduce_mean(measure(truth, logits) * weights)
        gradients = tape.gradient(loss, below + above)
        slow.apply(gradients[: len(below)], below)
        fast.apply(gradients[len(below) :], above)
        return loss

    return step
