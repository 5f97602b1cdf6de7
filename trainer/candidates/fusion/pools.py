"""Fusion of text and image by probabilities: a weighted mean, and two log-linear forms.

Calibrated probabilities are what messages carry.
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

#: One number can be fitted on this many rows.
ENOUGH_TO_CALIBRATE = 30


@dataclass(frozen=True)
class Evidence:
    """What both modalities say of the same products, none of which they were fitted on.

    Attributes:
        text: Calibrated probabilities, shape `(rows, classes)`.
        image: The same of the images.
        text_features: Shape `(rows, text features)`.
        image_features: Shape `(rows, image features)`.
        targets: Column numbers, shape `(rows,)`.
        is_official: Which rows have an official label, shape `(rows,)`.
    """

    text: Floats
    image: Floats
    text_features: Floats
    image_features: Floats
    targets: NDArray[np.int64]
    is_official: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int64]) -> "Evidence":
        """Some of the rows."""
        return Evidence(**{name: values[rows] for name, values in vars(self).items()})


Combine = Callable[[Evidence], Floats]


class FusionCandidate(Protocol):
    """A way to combine both modalities."""

    @property
    def name(self) -> str:
        """For people and files."""

    @property
    def settings(self) -> Any:
        """A dataclass of what was chosen."""

    @property
    def note(self) -> str:
        """Why it cannot be served, if so."""

    def fit(self, evidence: Evidence, seed: int) -> FusionModel | Combine:
        """Fit on rows that neither modality has seen."""


@dataclass(frozen=True)
class NoSettings:
    """Nothing to choose."""


@dataclass(frozen=True)
class WeightedMean:
    """`p = w p_text + (1 - w) p_image`: one number."""

    name: str = "fusion_mean"
    settings: NoSettings = field(default_factory=NoSettings)
    note: str = ""

    def fit(self, evidence: Evidence, seed: int) -> FusionModel:
        """Find the weight with the least log loss."""

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
    """One weight for each modality's log-probabilities (Genest and Zidek 1986, section 3.3)."""

    name: str = "fusion_log_linear"
    settings: NoSettings = field(default_factory=NoSettings)
    note: str = ""

    def fit(self, evidence: Evidence, seed: int) -> FusionModel:
        """Find both weights with the least log loss, then calibrate.

        Most rows are weakly labelled, and those are easier than real ones; how sure one may be is
        therefore fitted on the officially labelled rows alone, where there are enough.
        """
        # The optimiser tries steps of 1e-8, which float32 does not hold.
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
    """Inverse strength of the penalty on the weights."""

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
    """Probabilities of both modalities together, shape `(rows, classes)`."""
    if isinstance(model, FusionModel):
        return model.combine(evidence.text, evidence.image)
    return model(evidence)


def _temperature(logits: Doubles, evidence: Evidence) -> float:
    official = evidence.is_official
    if official.sum() < ENOUGH_TO_CALIBRATE:
        return 1.0
    return fit_temperature(logits[official], evidence.targets[official])
