"""Fits the fusion: how much each modality's log-probabilities count."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]

from shared.inference.fusion import FusionModel

Floats = NDArray[np.float32]


def fit_fusion(text: Floats, image: Floats, targets: NDArray[np.int64]) -> FusionModel:
    """Find one weight for each modality that minimises the log loss.

    Two numbers and not one a category: the rows that neither model has seen are few.

    Args:
        text: Calibrated probabilities, shape `(rows, classes)`.
        image: The same rows' picture probabilities.
        targets: Column numbers, shape `(rows,)`.
    """

    def loss(weights: NDArray[np.float64]) -> float:
        return log_loss(_model(weights, text.shape[1]).combine(text, image), targets)

    found = minimize(loss, x0=np.array([1.0, 0.5]), bounds=[(0, 4), (0, 4)], method="L-BFGS-B")
    return _model(found.x, text.shape[1])


def fit_temperature(logits: Floats, targets: NDArray[np.int64]) -> float:
    """Find the temperature that minimises the log loss.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), section 4.2.
    """

    def loss(log_temperature: NDArray[np.float64]) -> float:
        return log_loss(softmax(logits / np.exp(log_temperature[0])), targets)

    found = minimize(loss, x0=np.zeros(1), bounds=[(-3, 3)], method="L-BFGS-B")
    return float(np.exp(found.x[0]))


def softmax(logits: Floats) -> Floats:
    """Probabilities of logits, shape `(rows, classes)`."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def log_loss(probabilities: Floats, targets: NDArray[np.int64]) -> float:
    """Mean negative log-probability of the true categories, in nats."""
    true = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(-np.log(np.maximum(true, 1e-12)).mean())


def _model(weights: NDArray[np.float64], classes: int) -> FusionModel:
    return FusionModel(
        text_weights=np.full(classes, weights[0], np.float32),
        image_weights=np.full(classes, weights[1], np.float32),
        bias=np.zeros(classes, np.float32),
    )
