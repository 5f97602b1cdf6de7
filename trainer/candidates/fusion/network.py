"""Fusion by a small network on both feature vectors: tried in every run, but not served.

Messages carry probabilities; feature vectors would make them a hundred times larger.
"""

from dataclasses import dataclass, field

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from trainer.candidates.calibration import logs, softmax
from trainer.candidates.fusion.pools import Combine, Evidence

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class NetworkSettings:
    """Hyperparameters, chosen on validation rows."""

    hidden: int = 256
    dropout: float = 0.5
    epochs: int = 30
    batch: int = 64
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class FeatureNetwork:
    """A small network on both feature vectors and both log-probabilities."""

    name: str = "fusion_network"
    settings: NetworkSettings = field(default_factory=NetworkSettings)
    note: str = "not served: messages carry probabilities, not feature vectors"

    def fit(self, evidence: Evidence, seed: int) -> Combine:
        """Fit the network; the returned function reads the features of other rows."""
        keras.utils.set_random_seed(seed)
        inputs = _joined(evidence)
        normalize = layers.Normalization()
        normalize.adapt(inputs)
        network = keras.Sequential(
            [
                keras.Input((inputs.shape[1],)),
                normalize,
                layers.Dropout(self.settings.dropout),
                layers.Dense(self.settings.hidden, activation="relu"),
                layers.Dropout(self.settings.dropout),
                layers.Dense(evidence.text.shape[1]),
            ]
        )
        network.compile(
            optimizer=keras.optimizers.AdamW(self.settings.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        network.fit(
            inputs,
            evidence.targets,
            batch_size=self.settings.batch,
            epochs=self.settings.epochs,
            verbose=0,
        )

        def combine(other: Evidence) -> Floats:
            logits: Floats = network(_joined(other), training=False).numpy()
            return softmax(logits)

        return combine


def _joined(evidence: Evidence) -> Floats:
    parts = [
        evidence.text_features,
        evidence.image_features,
        logs(evidence.text).astype(np.float32),
        logs(evidence.image).astype(np.float32),
    ]
    return np.concatenate(parts, axis=1)
