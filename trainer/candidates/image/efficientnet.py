"""EfficientNet-Lite0 with ImageNet weights, frozen: five times faster than Xception.

Tan and Le, "EfficientNet" (2019); the Lite form omits squeeze-and-excitation and uses ReLU6.
It was trained at 224 pixels and is more accurate at 299: Touvron et al., "Fixing the train-test
resolution discrepancy" (2019).
"""

from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from shared.inference.manifest import IMAGE_INPUT
from trainer.candidates.image.head import FrozenBackbone
from trainer.candidates.protocols import FitContext

SIZE = 299


@dataclass(frozen=True)
class EfficientNetLite0(FrozenBackbone):
    """Frozen features `(batch, 1280)` with a fitted head."""

    name: str = "image_efficientnet_lite0"
    size: int = SIZE
    weights_file: str = "efficientnet_lite0_imagenet.keras"

    def unavailable_reason(self, context: FitContext) -> str | None:
        """Return the reason if the weights are missing; Keras cannot download them."""
        if context.weights is None:
            return f"Expected a folder with {self.weights_file}. Received: none"
        return super().unavailable_reason(context)

    def build(self, weights: Path | None) -> keras.Model:
        """Build the backbone: pixels 0 to 255 `(batch, 299, 299, 3)` to `(batch, 1280)`."""
        network = keras.models.load_model(weights, compile=False)
        pooled = next(
            layer for layer in network.layers if isinstance(layer, layers.GlobalAveragePooling2D)
        )
        small = keras.Model(network.input, pooled.output)
        larger = keras.models.clone_model(small, keras.Input((self.size, self.size, 3)))
        larger.set_weights(small.get_weights())
        pixels = keras.Input((self.size, self.size, 3), dtype="float32", name=IMAGE_INPUT)
        return keras.Model(pixels, larger(layers.Rescaling(1 / 128, offset=-127 / 128)(pixels)))
