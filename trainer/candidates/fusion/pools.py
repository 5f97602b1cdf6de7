"""Fusion of text and image by probabilities: a weighted mean, and two log-linear forms.

The inputs are calibrated probabilities, because messages carry nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

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
        # The optimiser takes steps of 1e-8, which float32 cannot represent.
        text, image = logs(evidence.text), logs(evidence.image)

        def loss(weights: Doubles) -> float:
            return log_loss(softmax(weights[0] * text + weights[1] * image), evidence.targets)

        start = np.array([1.0, 0.5])
        found = minimize(loss, x0=start, bounds=[(0, 4), (0, 4)], method="L-BFGS-B").x
        weights = found / _temperature(found[0] * text + found[1] * image, evidence)
        classes = text.shape[1]
        return FusionModel(
            text_weights=np.full(classes, weights[0], np.float32),
            image_weights=np.full(classes, weights[1], np.float32),
            bias=np.zeros(classes, np.float32),
        )


@dataclass(frozen=True)
class StackingSettings:
    """Regularisation: inverse strength of the penalty on the weights."""

    inverse_penalty: float = 0.02


@dataclass(frozen=True)
class Stacking:
    """Multinomial regression on both modalities' log-probabilities (Wolpert 1992)."""

    name: str = "fusion_stacking"
    settings: StackingSettings = field(default_factory=StackingSettings)
    note: str = ""

    def fit(self, evidence: Evidence, seed: int) -> FusionModel:
        """Fit a weight from every category of each modality to every category."""
        classes = evidence.text.shape[1]
        inputs = np.concatenate([logs(evidence.text), logs(evidence.image)], axis=1)
        regression = LogisticRegression(C=self.settings.inverse_penalty, max_iter=500)
        regression.fit(inputs, evidence.targets)
        weights = np.zeros((2 * classes, classes))
        bias = np.full(classes, -10.0)
        columns = regression.classes_
        if len(columns) == 2:
            weights[:, columns[1]], bias[columns] = (
                regression.coef_[0],
                [0, regression.intercept_[0]],
            )
        else:
            weights[:, columns], bias[columns] = regression.coef_.T, regression.intercept_
        temperature = _temperature(inputs @ weights + bias, evidence)
        weights, bias = weights / temperature, bias / temperature
        return FusionModel(
            text_weights=weights[:classes].astype(np.float32),
            image_weights=weights[classes:].astype(np.float32),
            bias=bias.astype(np.float32),
        )


def combined(model: FusionModel | Combine, evidence: Evidence) -> Floats:
    """Return the probabilities of both modalities together, shape `(rows, classes)`."""
    if isinstance(model, FusionModel):
        return model.combine(evidence.text, evidence.image)
    return model(evidence)


def _temperature(logits: Doubles, evidence: Evidence) -> float:
    official = evidence.is_official
    if official.sum() < ENOUGH_TO_CALIBRATE:
        return 1.0
    return fit_temperature(logits[official], evidence.targets[official])
