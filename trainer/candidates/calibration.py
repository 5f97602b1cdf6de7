"""Calibration of a model's confidence: pure functions on arrays."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from shared.inference.releases.fusion_model import SMALLEST_PROBABILITY

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Scores = TypeVar("Scores", Floats, Doubles)


def fit_temperature(logits: Floats | Doubles, targets: NDArray[np.int64]) -> float:
    """Return the temperature that minimises the log loss.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), section 4.2.
    """
    doubles = logits.astype(np.float64)

    def loss(log_temperature: Doubles) -> float:
        return log_loss(softmax(doubles / np.exp(log_temperature[0])), targets)

    found = minimize(loss, x0=np.zeros(1), bounds=[(-4, 3)], method="L-BFGS-B")
    return float(np.exp(found.x[0]))


def fit_weights(log_probabilities: list[Floats], targets: NDArray[np.int64]) -> list[float]:
    """Return a non-negative weight for each model's log-probabilities `(rows, classes)`.

    The softmax of their weighted sum has the least log loss: the log-linear pool of Genest and
    Zidek, "Combining Probability Distributions" (1986), section 3.3.
    """
    stacked = np.stack(log_probabilities).astype(np.float64)

    def loss(weights: Doubles) -> float:
        return log_loss(softmax(np.tensordot(weights, stacked, axes=1)), targets)

    start = np.full(len(stacked), 1 / len(stacked))
    found = minimize(loss, x0=start, bounds=[(0, 4)] * len(stacked), method="L-BFGS-B")
    return [float(weight) for weight in found.x]


def softmax(logits: Scores) -> Scores:
    """Return the probabilities of logits, shape `(rows, classes)`."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Scores = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def log_loss(probabilities: Floats | Doubles, targets: NDArray[np.int64]) -> float:
    """Return the mean negative log-probability of the true categories, in nats."""
    true = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(-np.log(np.maximum(true, 1e-12)).mean())


def logs(probabilities: Floats) -> Doubles:
    """Return log-probabilities, bounded below by that of `SMALLEST_PROBABILITY`."""
    found: Doubles = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY))
    return found
