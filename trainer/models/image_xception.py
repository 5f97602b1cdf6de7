"""Xception with ImageNet weights: frozen features and a fitted head.

Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017).
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIZE = 299
FEATURES = 2048
#: Names the extractor in the feature cache; change it when the features would change.
EXTRACTOR = "xception-imagenet-avg-1"


@dataclass(frozen=True)
class ImageSettings:
    """Everything that was chosen for the picture head, on validation rows."""

    hidden: int = 512
    dropout: float = 0.5
    epochs: int = 30
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1
    weak_weight: float = 0.7


def build_backbone(weights: Path | None) -> keras.Model:
    """Build the frozen part: pixels 0 to 255, `(batch, 299, 299, 3)`, in; `(batch, 2048)` out.

    Args:
        weights: A file of arrays in `get_weights()` order; `None` fetches Keras's own.
    """
    network = keras.applications.Xception(
        weights="imagenet" if weights is None else None,
        include_top=False,
        pooling="avg",
        input_shape=(SIZE, SIZE, 3),
    )
    if weights is not None:
        with np.load(weights) as arrays:
            network.set_weights([arrays[name].astype("float32") for name in arrays.files])
    pixels = keras.Input((SIZE, SIZE, 3), dtype="float32", name="pictures")
    return keras.Model(pixels, network(layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)))


def fit_head(
    features: Floats,
    targets: NDArray[np.int64],
    weights: Floats,
    *,
    classes: int,
    settings: ImageSettings,
    seed: int,
) -> keras.Model:
    """Fit the head on features `(pictures, 2048)`; it gives logits `(pictures, classes)`."""
    keras.utils.set_random_seed(seed)
    normalize = layers.Normalization(name="normalize")
    normalize.adapt(features)
    head = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            normalize,
            layers.Dropout(settings.dropout),
            layers.Dense(settings.hidden, activation="relu"),
            layers.Dropout(settings.dropout),
            layers.Dense(classes),
        ],
        name="head",
    )
    steps = -(-len(features) // settings.batch) * settings.epochs
    head.compile(
        optimizer=keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps),
            weight_decay=settings.weight_decay,
        ),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=settings.label_smoothing
        ),
    )
    head.fit(
        features,
        keras.utils.to_categorical(targets, classes),
        sample_weight=weights,
        batch_size=settings.batch,
        epochs=settings.epochs,
        verbose=0,
    )
    return head


def predict_logits(head: keras.Model, features: Floats) -> Floats:
    """Predict, shape `(pictures, classes)`."""
    logits: Floats = head(features, training=False).numpy()
    return logits
