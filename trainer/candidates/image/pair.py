"""Xception and EfficientNet-Lite0, frozen, with one head on the features of both.

Independently trained networks see different things; the second costs a tenth of the first.
"""

from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from shared.inference.manifest import IMAGE_INPUT
from trainer.candidates.image.efficientnet import EfficientNetLite0
from trainer.candidates.image.head import FrozenBackbone
from trainer.candidates.image.xception import SIZE, XceptionFrozen
from trainer.candidates.protocols import FitContext


@dataclass(frozen=True)
class XceptionAndEfficientNet(FrozenBackbone):
    """Frozen features `(batch, 3328)` of both networks with a fitted head."""

    name: str = "image_pair"
    size: int = SIZE
    weights_file: str = XceptionFrozen.weights_file

    def unavailable_reason(self, context: FitContext) -> str | None:
        """Return the reason if the weights of either network are missing."""
        return XceptionFrozen().unavailable_reason(
            context
        ) or EfficientNetLite0().unavailable_reason(context)

    def build(self, weights: Path | None) -> keras.Model:
        """Build the backbone: pixels 0 to 255 `(batch, 299, 299, 3)` to `(batch, 2048 + 1280)`."""
        small = EfficientNetLite0()
        # `unavailable_reason` has checked that there is a folder of weights.
        folder = None if weights is None else weights.parent
        pixels = keras.Input((SIZE, SIZE, 3), dtype="float32", name=IMAGE_INPUT)
        features = [
            XceptionFrozen().build(weights)(pixels),
            small.build(folder and folder / small.weights_file)(pixels),
        ]
        return keras.Model(pixels, layers.Concatenate()(features))
