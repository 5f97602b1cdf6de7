"""Fine-tuning of an image network in stages, each with its resolution and its trainable layers.

The linear layer is fitted first, then the layers next to the output, then all (Howard and Ruder,
"Universal Language Model Fine-tuning", 2018). Early stages read small images, which cost less (Tan
and Le, "EfficientNetV2", 2021). Each stage ends with the moving average of its weights.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from trainer.candidates.devices import Precision, has_accelerator
from trainer.candidates.image.augmentation import MARGIN, Augmentation, AugmentationSettings
from trainer.candidates.image.head import HeadSettings
from trainer.candidates.image.unfreezing import rate_factors, resizable, unfreeze
from trainer.candidates.layer_rates import LayerWise, warmed_cosine
from trainer.candidates.protocols import FitContext, Images, Labels

EPOCH = "epoch_{}.weights.h5"
KEPT = re.compile(r"epoch_(\d+)\.weights\.h5$")
#: Batches that are decoded at once, and that wait for the network.
DECODED, WAITING = 2, 2


@dataclass(frozen=True)
class Stage:
    """Some epochs at one resolution.

    Attributes:
        size: Side of the images, in pixels.
        epochs: Number of epochs.
        share: Share of the network's layers that learn, from the output down.
    """

    size: int
    epochs: int
    share: float


@dataclass(frozen=True)
class FineTuningSettings:
    """Hyperparameters that are usual for networks of this size; none was tuned.

    Attributes:
        stages: In each, the learning rate rises and falls once; it begins with the averaged weights
            of the one before.
        learning_rate: Highest rate of the network's uppermost layers.
        layer_decay: Rate of a group of layers as a share of that of the group above it.
        head_rate: Highest rate of the linear layer.
        warmup: Share of the steps of a stage in which the rates rise.
        average: Weight of the moving average in its next value.
        head: Settings of the head that serves.
    """

    stages: tuple[Stage, ...] = (
        Stage(128, 1, 0.0),
        Stage(128, 2, 0.5),
        Stage(160, 3, 1.0),
        Stage(224, 3, 1.0),
    )
    batch: int = 32
    learning_rate: float = 1e-4
    layer_decay: float = 0.85
    head_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    dropout: float = 0.2
    label_smoothing: float = 0.1
    average: float = 0.99
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    head: HeadSettings = field(default_factory=HeadSettings)

    @property
    def epochs(self) -> int:
        """Number of epochs of all stages."""
        return sum(stage.epochs for stage in self.stages)


class Training:
    """A network while it is fine-tuned.

    Args:
        name: Name of the candidate, for the log.
        backbone: Network from pixels to features, with its weights; it stays unchanged.
        classes: Number of categories.
        settings: Hyperparameters.
        context: Context of the fit.
        precision: Precision of the network's computations.

    Attributes:
        features: Copy of the backbone that learns.
        network: The same with the linear layer: pixels to logits `(batch, classes)`.
    """

    def __init__(
        self,
        name: str,
        backbone: keras.Model,
        classes: int,
        settings: FineTuningSettings,
        context: FitContext,
        precision: Precision = "float32",
    ) -> None:
        self.name, self.settings, self.context = name, settings, context
        keras.utils.set_random_seed(context.seed)
        self.features = resizable(backbone, precision)
        self._dropout = layers.Dropout(settings.dropout, seed=context.seed)
        linear = layers.Dense(classes, name="logits", dtype="float32")
        logits = linear(self._dropout(self.features.output))
        self.network = keras.Model(self.features.input, logits)

    def run(self, images: Images, labels: Labels, folder: Path) -> None:
        """Run the epochs that are not finished; then the weights are their moving average."""
        finished = finished_epochs(folder)
        done, path = finished[-1] if finished else (0, folder)
        last = 0
        for stage in self.settings.stages:
            first, last = last, last + stage.epochs
            if done and done == last:
                # The state of the optimizer in the file is that of a stage that is over.
                self.network.load_weights(path)
            if done >= last:
                continue
            self.begin(stage, len(images))
            if done > first:
                self.network.load_weights(path)
            for epoch in range(max(done, first), last):
                self._run_epoch(stage, epoch, images, labels)
                if epoch + 1 == last:
                    self.network.optimizer.finalize_variable_values(
                        self.network.trainable_variables
                    )
                self.network.save_weights(folder / EPOCH.format(epoch + 1))
                (folder / EPOCH.format(epoch)).unlink(missing_ok=True)

    def begin(self, stage: Stage, images: int) -> None:
        """Unfreeze the layers of a stage, and give the network a new optimizer.

        Args:
            stage: The stage.
            images: Number of images of an epoch.
        """
        settings = self.settings
        unfreeze(self.features, stage.share)
        factors = rate_factors(self.features, settings.layer_decay)
        head = settings.head_rate / settings.learning_rate
        variables = self.network.trainable_variables
        optimizer = LayerWise(
            [factors.get(id(one), head) for one in variables],
            learning_rate=warmed_cosine(
                settings.learning_rate,
                steps_of(images, settings.batch) * stage.epochs,
                settings.warmup,
            ),
            weight_decay=settings.weight_decay,
            global_clipnorm=1.0,
            use_ema=True,
            ema_momentum=settings.average,
        )
        optimizer.build(variables)
        self.network.compile(
            optimizer=optimizer,
            loss=keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=settings.label_smoothing
            ),
            # On a processor the compiler (XLA) is ten times as slow.
            jit_compile=has_accelerator(),
        )

    def _run_epoch(self, stage: Stage, epoch: int, images: Images, labels: Labels) -> None:
        seed = _seed_of(self.context.seed, epoch)
        augmentation = Augmentation(stage.size, self.settings.augmentation, seed)
        # Files of weights do not hold its state.
        self._dropout.seed_generator.state.assign([seed, 0])
        found = batches(images, labels, stage.size, self.settings.batch, seed)
        loss = float(np.mean([self.step(augmentation, *batch) for batch in found]))
        self.context.curve(f"{self.name}_tuning_loss", epoch + 1, loss)
        self.context.log_line(
            f"{self.name}: epoch {epoch + 1} of {self.settings.epochs}, {stage.size} pixels, "
            f"{stage.share:.0%} of the layers, loss {loss:.3f}"
        )

    def step(self, augmentation: Augmentation, pixels: tf.Tensor, truth: tf.Tensor) -> float:
        """Fit one batch; return its loss.

        Args:
            augmentation: That of the epoch.
            pixels: Decoded images, see `batches`.
            truth: Their labels and weights.
        """
        augmented, mixed = augmentation(pixels, truth)
        return float(self.network.train_on_batch(augmented, mixed[:, :-1], mixed[:, -1]))


def batches(images: Images, labels: Labels, size: int, batch: int, seed: int) -> tf.data.Dataset:
    """Read images in random order, some batches ahead; memory does not grow with their number.

    The last images are left out if they do not fill a batch, others in each epoch.

    Args:
        images: Images.
        labels: Their labels.
        size: Side of the crops that are cut out of them, in pixels.
        batch: Number of images in a batch.
        seed: Seed of the order.

    Returns:
        Pixels 0 to 255 `(batch, side, side, 3)`, a quarter larger than the crops, and
        `(batch, classes + 1)`: the distribution of the label, and its weight.
    """
    side = round(size * MARGIN)
    count = min(batch, len(images))

    def read(places: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        distributions = labels.distributions(places, 0.0)
        truth = np.concatenate([distributions, labels.weights[places, None]], axis=1)
        return images.decoded(places, side), truth.astype(np.float32)

    def decode(places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, truth = tf.numpy_function(read, [places], [tf.uint8, tf.float32])
        return (
            tf.ensure_shape(pixels, (count, side, side, 3)),
            tf.ensure_shape(truth, (count, labels.classes + 1)),
        )

    order = np.random.default_rng(seed).permutation(len(images))
    places = tf.data.Dataset.from_tensor_slices(order).batch(count, drop_remainder=True)
    return places.map(decode, num_parallel_calls=DECODED).prefetch(WAITING)


def steps_of(images: int, batch: int) -> int:
    """Return the number of steps of an epoch."""
    return max(1, images // batch)


def finished_epochs(folder: Path) -> list[tuple[int, Path]]:
    """Return the numbers of finished epochs, with the files of their weights, in order."""
    return sorted(
        (int(match[1]), path) for path in folder.iterdir() if (match := KEPT.match(path.name))
    )


def _seed_of(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0] >> 1)
