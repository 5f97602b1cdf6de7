"""Networks whose layers are unfrozen from the output down, each with its own learning rate."""

from typing import Any

import keras
from keras import layers

from trainer.candidates.devices import Precision

#: Layers of equal learning rate, as many as Xception has blocks.
GROUPS = 14


def resizable(backbone: keras.Model, precision: Precision) -> keras.Model:
    """Copy a backbone, so that it reads images of any size, and computes in some precision.

    Args:
        backbone: Chain of layers and networks, pixels 0 to 255 to features; see
            `FrozenBackbone.build`.
        precision: Precision of the networks in it. Weights stay float32.

    Returns:
        Network from pixels `(batch, any, any, 3)` to float32 features `(batch, features)`.
    """
    pixels = keras.Input((None, None, 3), dtype="float32", name="pixels")
    value = pixels
    for one in backbone.layers[1:]:
        value = (_copied(one, precision) if isinstance(one, keras.Model) else one)(value)
    copy = keras.Model(pixels, layers.Activation("linear", dtype="float32")(value))
    copy.set_weights(backbone.get_weights())
    return copy


def unfreeze(network: keras.Model, share: float) -> None:
    """Make the layers next to the output trainable, and all others not.

    Batch statistics stay frozen, with their scales: those of small batches would be noise.

    Args:
        network: Network from `resizable`.
        share: Share of the layers with weights; 0 for none, 1 for all.
    """
    tunable = _tunable(network)
    first = len(tunable) - round(share * len(tunable))
    for one in _leaves(network):
        one.trainable = False
    for one in tunable[first:]:
        one.trainable = True


def rate_factors(network: keras.Model, decay: float) -> dict[int, float]:
    """Return the share of the learning rate of each trainable variable, by its `id`.

    Args:
        network: Network from `resizable`.
        decay: Learning rate of a group of layers as a share of that of the group above it.
    """
    tunable = _tunable(network)
    return {
        id(variable): decay ** (GROUPS - 1 - place * GROUPS // len(tunable))
        for place, one in enumerate(tunable)
        for variable in one.trainable_variables
    }


def _copied(network: keras.Model, precision: Precision) -> keras.Model:
    def copy(layer: layers.Layer) -> Any:
        config = layer.get_config()
        if not isinstance(layer, layers.InputLayer):
            config["dtype"] = precision
        return type(layer).from_config(config)

    pixels = keras.Input((None, None, 3), dtype="float32")
    return keras.models.clone_model(network, pixels, clone_function=copy)


def _tunable(network: keras.Model) -> list[layers.Layer]:
    """Return the layers that may be trained, from the input to the output."""
    return [
        one
        for one in _leaves(network)
        if one.weights and not isinstance(one, layers.BatchNormalization)
    ]


def _leaves(network: keras.Model) -> list[layers.Layer]:
    return [
        leaf
        for one in network.layers
        for leaf in (_leaves(one) if isinstance(one, keras.Model) else [one])
    ]
