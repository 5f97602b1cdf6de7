"""Fits the fusion: how much each modality's log-probabilities count."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]

from shared.inference.fusion import SMALLEST_PROBABILITY, FusionModel

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Scores = TypeVar("Scores", Floats, Doubles)

#: One number can be fitted on this many rows.
ENOUGH_TO_CALIBRATE = 30


def fit_fusion(
    text: Floats,
    image: Floats,
    targets: NDArray[np.int64],
    is_official: NDArray[np.bool_],
) -> FusionModel:
    """Find one weight for each modality that minimises the log loss, then calibrate.

    Two numbers and not one a category: the rows that neither model has seen are few. Most of them
    are weakly labelled, and those are easier than real ones; how sure one may be is therefore
    fitted on the officially labelled rows alone, where there are enough.

    Args:
        text: Calibrated probabilities, shape `(rows, classes)`.
        image: The same rows' picture probabilities.
        targets: Column numbers, shape `(rows,)`.
        is_official: Which rows have an official label, shape `(rows,)`.
    """
    # The optimiser tries steps of 1e-8, which float32 does not hold: everything here is float64.
    text_logs, image_logs = _logs(text), _logs(image)

    def pooled(weights: NDArray[np.float64]) -> Doubles:
        logits: Doubles = weights[0] * text_logs + weights[1] * image_logs
        return logits

    def loss(weights: NDArray[np.float64]) -> float:
        return log_loss(softmax(pooled(weights)), targets)

    found = minimize(loss, x0=np.array([1.0, 0.5]), bounds=[(0, 4), (0, 4)], method="L-BFGS-B")
    weights = found.x
    if is_official.sum() >= ENOUGH_TO_CALIBRATE:
        weights = weights / fit_temperature(pooled(weights)[is_official], targets[is_official])
    return _model(weights, text.shape[1])


def fit_temperature(logits: Floats | Doubles, targets: NDArray[np.int64]) -> float:
    """Find the temperature that minimises the log loss.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), section 4.2.
    """
    doubles = logits.astype(np.float64)

    def loss(log_temperature: NDArray[np.float64]) -> float:
        return log_loss(softmax(doubles / np.exp(log_temperature[0])), targets)

    found = minimize(loss, x0=np.zeros(1), bounds=[(-3, 3)], method="L-BFGS-B")
    return float(np.exp(found.x[0]))


def softmax(logits: Scores) -> Scores:
    """Probabilities of logits, shape `(rows, classes)`."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Scores = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def log_loss(probabilities: Floats | Doubles, targets: NDArray[np.int64]) -> float:
    """Mean negative log-probability of the true categories, in nats."""
    true = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(-np.log(np.maximum(true, 1e-12)).mean())


def _logs(probabilities: Floats) -> Doubles:
    return np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY))


def _model(weights: NDArray[np.float64], classes: int) -> FusionModel:
    return FusionModel(
        text_weights=np.full(classes, weights[0], np.float32),
        image_weights=np.full(classes, weights[1], np.float32),
        bias=np.zeros(classes, np.float32),
    )
