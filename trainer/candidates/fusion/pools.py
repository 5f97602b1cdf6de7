"""Fusion of text and image by probabilities: the text alone, a weighted mean, a log-linear pool.

The inputs are calibrated probabilities, because messages carry nothing else. Weights by category
are in `trainer.candidates.fusion.stacking`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from shared.inference.releases.fusion_model import FusionModel
from trainer.candidates.calibration import Doubles, fit_temperature, log_loss, logs, softmax

Floats = NDArray[np.float32]
Rows = TypeVar("Rows", NDArray[np.int64], NDArray[np.bool_])

#: Fewest rows on which a temperature is fitted.
ENOUGH_TO_CALIBRATE = 30


@dataclass(frozen=True)
class Evidence:
    """Scores of both modalities for the same products, none of which they were fitted on.

    Attributes:
        text: Calibrated probabilities of the text model, shape `(rows, classes)`.
        image: Calibrated probabilities of the image model, shape `(rows, classes)`.
        text_features: Shape `(rows, text features)`.
        image_features: Shape `(rows, image features)`.
        targets: Column numbers, shape `(rows,)`.
        is_official: Mask of the rows with an official label, shape `(rows,)`.
    """

    text: Floats
    image: Floats
    text_features: Floats
    image_features: Floats
    targets: NDArray[np.int64]
    is_official: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int64]) -> "Evidence":
        """Return the evidence of some rows."""
        return Evidence(**{name: values[rows] for name, values in vars(self).items()})


Combine = Callable[[Evidence], Floats]


class FusionCandidate(Protocol):
    """A model that combines both modalities."""

    @property
    def name(self) -> str:
        """Name in logs, files and the leaderboard."""

    @property
    def settings(self) -> Any:
        """Dataclass of hyperparameters."""

    @property
    def note(self) -> str:
        """Reason why it cannot be served; empty if it can."""

    def fit(self, evidence: Evidence, seed: int) -> FusionModel | Combine:
        """Fit on rows that neither modality was fitted on."""


@dataclass(frozen=True)
class NoSettings:
    """Settings of a candidate without hyperparameters."""


@dataclass(frozen=True)
class TextAlone:
    """The text model's answer wherever there is a text: what every other fusion must beat.

    The image model still answers for products without a text.
    """

    name: str = "fusion_text_alone"
    settings: NoSettings = field(default_factory=NoSettings)
    note: str = ""

    def fit(self, evidence: Evidence, seed: int) -> FusionModel:
        """Return a model with no weight on the image."""
        classes = evidence.text.shape[1]
        return FusionModel(
            text_weights=np.ones(classes, np.float32),
            image_weights=np.zeros(classes, np.float32),
            bias=np.zeros(classes, np.float32),
            space="probability",
        )


@dataclass(frozen=True)
class WeightedMean:
    """Weighted mean with one weight: `p = w p_text + (1 - w) p_image`."""

    name: str = "fusion_mean"
    settings: NoSettings = field(default_factory=NoSettings)
    note: str = ""

    def fit(self, evidence: Evidence, seed: int) -> FusionModel:
        """Fit the weight with the least log loss."""

        def loss(weight: Doubles) -> float:
            mixed = weight[0] * evidence.text + (1 - weight[0]) * evidence.image
            return log_loss(mixed, evidence.targets)

        weight = float(minimize(loss, x0=np.array([0.7]), bounds=[(0, 1)]).x[0])
        classes = evidence.text.shape[1]
        return FusionModel(
            text_weights=np.full(classes, weight, np.float32),
            image_weights=np.full(classes, 1 - weight, np.float32),
            bias=np.zeros(classes, np.float32),
            space="probability",
        )


@dataclass(frozen=True)
class LogLinear:
    """Log-linear pool with one weight for each modality (Genest and Zidek 1986, section 3.3)."""

    name: str = "fusion_log_linear"
    settings: NoSettings = field(default_factory=NoSettings)
    note: str = ""

    def fit(self, evidence: Evidence, seed: int) -> FusionModel:
        """Fit both weights with the least log loss, then calibrate.

        Most rows are weakly labelled, and those are easier than real ones; so the confidence is
        fitted on the officially labelled rows alone, if there are enough.
        """
        return scaled(log_linear_pool(evidence), evidence)


def log_linear_pool(evidence: Evidence) -> FusionModel:
    """Fit a weight for each modality with the least log loss on all rows."""
    # The optimiser takes steps of 1e-8, which float32 cannot represent.
    text, image = logs(evidence.text), logs(evidence.image)

    def loss(weights: Doubles) -> float:
        return log_loss(softmax(weights[0] * text + weights[1] * image), evidence.targets)

    start = np.array([1.0, 0.5])
    found = minimize(loss, x0=start, bounds=[(0, 4), (0, 4)], method="L-BFGS-B").x
    classes = text.shape[1]
    return FusionModel(
        text_weights=np.full(classes, found[0], np.float32),
        image_weights=np.full(classes, found[1], np.float32),
        bias=np.zeros(classes, np.float32),
    )


def scaled(model: FusionModel, evidence: Evidence) -> FusionModel:
    """Calibrate a log-linear model on the officially labelled rows, if there are enough."""
    chosen = np.flatnonzero(evidence.is_official)
    if len(chosen) < ENOUGH_TO_CALIBRATE:
        return model
    logits = _logits(model, evidence.take(chosen))
    temperature = np.float32(fit_temperature(logits, evidence.targets[chosen]))
    return replace(
        model,
        text_weights=model.text_weights / temperature,
        image_weights=model.image_weights / temperature,
        bias=model.bias / temperature,
    )


def _logits(model: FusionModel, evidence: Evidence) -> Doubles:
    weighted = [
        inputs @ weights if weights.ndim == 2 else inputs * weights
        for inputs, weights in (
            (logs(evidence.text), model.text_weights),
            (logs(evidence.image), model.image_weights),
        )
    ]
    found: Doubles = weighted[0] + weighted[1] + model.bias
    return found


def combined(model: FusionModel | Combine, evidence: Evidence) -> Floats:
    """Return the probabilities of both modalities together, shape `(rows, classes)`."""
    if isinstance(model, FusionModel):
        return model.combine(evidence.text, evidence.image)
    return model(evidence)
