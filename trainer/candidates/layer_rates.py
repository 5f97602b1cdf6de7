"""Learning rates of layers: those near the input learn more slowly.

Howard and Ruder, "Universal Language Model Fine-tuning" (2018), section 3.2.
"""

from collections.abc import Sequence
from typing import Any

import keras


class LayerWise(keras.optimizers.AdamW):
    """AdamW with a learning rate of its own for each variable.

    Args:
        factors: Share of the learning rate of each variable, in the order of `build`.
        **settings: Those of AdamW.
    """

    def __init__(self, factors: Sequence[float], **settings: Any) -> None:
        super().__init__(name="layer_wise", **settings)
        self._factors = factors

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable with its share of the learning rate."""
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)


def warmed_cosine(rate: float, steps: int, warmup: float) -> keras.optimizers.schedules.CosineDecay:
    """Return a learning rate that rises to `rate`, and falls to 0 along a cosine.

    Args:
        rate: Highest learning rate.
        steps: Number of steps in all.
        warmup: Share of the steps in which it rises.
    """
    rising = max(1, round(steps * warmup))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - rising), warmup_target=rate, warmup_steps=rising
    )
