"""Random variants of training images, computed on batches on the device of the network.

Each image is cropped and may be mirrored (Szegedy et al. 2015). Then operations of RandAugment
(Cubuk et al. 2020) apply to the batch, and some batches are mixed by mixup (Zhang et al. 2018) or
CutMix (Yun et al. 2019).
"""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import layers

#: Side of the decoded images as a share of that of the crops, so that crops are not enlarged much.
MARGIN = 1.25
_RANGE = (0, 255)


@dataclass(frozen=True)
class AugmentationSettings:
    """Strength of the augmentation.

    Attributes:
        least_area: Smallest share of an image's area in a crop.
        operations: Number of RandAugment's operations on a batch.
        magnitude: Their strength, 0 to 1.
        mixed: Share of the batches that are mixed, half of them by mixup, half by CutMix.
        mixup: Parameter of mixup's beta distribution.
    """

    least_area: float = 0.4
    operations: int = 2
    magnitude: float = 0.3
    mixed: float = 0.5
    mixup: float = 0.2


class Augmentation:
    """Augmentation of the batches of one epoch; equal seeds give equal images.

    Args:
        size: Side of the crops, in pixels.
        settings: Strength.
        seed: Seed of all random numbers.
    """

    def __init__(self, size: int, settings: AugmentationSettings, seed: int) -> None:
        self._size, self._settings = size, settings
        self._seeds = keras.random.SeedGenerator(seed)
        self._operations = DrawnOperations(
            value_range=_RANGE,
            num_ops=settings.operations,
            factor=settings.magnitude,
            seed=seed,
            dtype="float32",
        )
        self._mixup = layers.MixUp(alpha=settings.mixup, seed=seed, dtype="float32")
        self._cutmix = layers.CutMix(seed=seed, dtype="float32")
        self._compute = tf.function(self._augmented, reduce_retracing=True)

    def __call__(self, images: tf.Tensor, truth: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return augmented images and what is true of them.

        Args:
            images: Pixels 0 to 255, shape `(batch, any, any, 3)`.
            truth: Numbers of each image that are mixed as the images are, `(batch, numbers)`.

        Returns:
            Pixels 0 to 255 `(batch, size, size, 3)`, and numbers `(batch, numbers)`.
        """
        images, truth = self._compute(images, truth)
        return images, truth

    def _augmented(self, images: tf.Tensor, truth: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = self._cropped(tf.cast(images, tf.float32))
        if self._settings.operations:
            images = self._operations(images, training=True)
        batch = {"images": images, "labels": truth}
        draw = keras.random.uniform((), seed=self._seeds)
        mixed = tf.switch_case(
            tf.cast(draw < self._settings.mixed, tf.int32)
            + tf.cast(draw < self._settings.mixed / 2, tf.int32),
            [
                lambda: batch,
                lambda: self._mixup(batch, training=True),
                lambda: self._cutmix(batch, training=True),
            ],
        )
        return mixed["images"], mixed["labels"]

    def _cropped(self, images: tf.Tensor) -> tf.Tensor:
        """Cut a random rectangle out of each image; half of them are mirrored."""
        count = tf.shape(images)[0]
        area = keras.random.uniform((count,), self._settings.least_area, 1.0, seed=self._seeds)
        ratio = tf.exp(keras.random.uniform((count,), -0.2, 0.2, seed=self._seeds))
        height, width = (
            tf.minimum(tf.sqrt(area * ratio), 1.0),
            tf.minimum(tf.sqrt(area / ratio), 1.0),
        )
        top = keras.random.uniform((count,), seed=self._seeds) * (1 - height)
        left = keras.random.uniform((count,), seed=self._seeds) * (1 - width)
        right = left + width
        is_mirrored = keras.random.uniform((count,), seed=self._seeds) < 0.5
        boxes = [
            top,
            tf.where(is_mirrored, right, left),
            top + height,
            tf.where(is_mirrored, left, right),
        ]
        size = (self._size, self._size)
        return tf.image.crop_and_resize(images, tf.stack(boxes, axis=1), tf.range(count), size)


class DrawnOperations(layers.RandAugment):
    """RandAugment that computes the operations drawn only, instead of all eleven.

    On one core it takes .8 ms for an image of 96 pixels instead of 10.3 ms.
    """

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        """Apply the operations that were drawn, one after the other."""
        for drawn in tf.unstack(transformation["layer_idxes"], self.num_ops):
            branches = [
                _branch(getattr(self, name), images, parameters)
                for name, parameters in transformation["transforms"].items()
            ]
            images = tf.switch_case(drawn, branches)
        return images


def _branch(layer: layers.Layer, images: tf.Tensor, parameters: Any) -> Any:
    return lambda: tf.ensure_shape(
        tf.cast(layer.transform_images(images, parameters), images.dtype), images.shape
    )
