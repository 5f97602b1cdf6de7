"""ResNet50 with ImageNet weights, frozen: the challenge's own reference for images.

He et al., "Deep Residual Learning for Image Recognition" (2016).
"""

from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from shared.inference.manifest import IMAGE_INPUT
from trainer.candidates.image.head import FrozenBackbone
from trainer.candidates.imagenet import with_weights

#: Mean colour of ImageNet, blue first, as in the training of the weights.
MEAN_COLOUR = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class ResNet50(FrozenBackbone):
    """Frozen features `(batch, 2048)` with a fitted head."""

    name: str = "image_resnet50"
    size: int = 224
    weights_file: str = "resnet50_imagenet_notop.npz"

    def build(self, weights: Path | None) -> keras.Model:
        """Build the backbone: pixels 0 to 255 `(batch, 224, 224, 3)` to `(batch, 2048)`."""

        def build(name: str | None) -> keras.Model:
            shape = (self.size, self.size, 3)
            return keras.applications.ResNet50(
                weights=name, include_top=False, pooling="avg", input_shape=shape
            )

        network = with_weights(build, weights, self.weights_file)
        pixels = keras.Input((self.size, self.size, 3), dtype="float32", name=IMAGE_INPUT)
        centred = layers.Rescaling(1.0, offset=[-value for value in MEAN_COLOUR])(pixels[..., ::-1])
        return keras.Model(pixels, network(centred))
