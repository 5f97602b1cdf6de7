"""Xception and EfficientNet-Lite0 side by side, frozen, under one head.

Two networks that were trained apart see different things; the second costs a tenth of the first.
"""

from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from shared.inference.manifest import IMAGE_INPUT
from trainer.candidates.image.efficientnet import EfficientNetLite0
from trainer.candidates.image.head import FrozenBackbone
from trainer.candidates.image.xception import SIZE, XceptionFrozen
from trainer.candidates.protocols import Workshop


@dataclass(frozen=True)
class XceptionAndEfficientNet(FrozenBackbone):
    """Frozen features `(batch, 3328)` of both networks under a fitted head."""

    name: str = "image_pair"
    size: int = SIZE
    weights_file: str = XceptionFrozen.weights_file
    code: tuple[str, ...] = (
        "trainer.candidates.image.pair",
        "trainer.candidates.image.efficientnet",
        "trainer.candidates.image.xception",
        "trainer.candidates.image.head",
    )

    def missing(self, workshop: Workshop) -> str | None:
        """Both networks need their weights."""
        return XceptionFrozen().missing(workshop) or EfficientNetLite0().missing(workshop)

    def build(self, weights: Path | None) -> keras.Model:
        """Pixels 0 to 255, `(batch, 299, 299, 3)`, in; `(batch, 2048 + 1280)` out."""
        small = EfficientNetLite0()
        # `missing` has seen to it that there is a folder of weights.
        folder = None if weights is None else weights.parent
        pixels = keras.Input((SIZE, SIZE, 3), dtype="float32", name=IMAGE_INPUT)
        features = [
            XceptionFrozen().build(weights)(pixels),
            small.build(folder and folder / small.weights_file)(pixels),
        ]
        return keras.Model(pixels, layers.Concatenate()(features))
