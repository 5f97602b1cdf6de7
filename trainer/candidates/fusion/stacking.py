"""Fusions with weights by category, shrunk towards the log-linear pool.

With few products that have both modalities, weights by category are mostly noise. So they are
fitted as deviations from the two weights of the pool, under a penalty (ridge) whose strength is
chosen by cross-validation: where the rows do not support a deviation, the pool remains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from shared.inference.releases.fusion_model import FusionModel
from trainer.candidates.calibration import Doubles, log_loss, logs, softmax
from trainer.candidates.folds import FOLDS, folds_of, strata_of
from trainer.candidates.fusion.pools import Evidence, log_linear_pool, scaled

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
#: Most numbers `rows * classes ** 2` with which weights between all categories are fitted: more
#: would take hours.
LARGEST = 30_000_000
#: `own`: each category weighs its own probabilities. `all`: also those of all other categories.
Reach = Literal["own", "all"]


@dataclass(frozen=True)
class StackingSettings:
    """Penalties of squared deviations to choose from, the strongest first."""

    penalties: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class Stacking:
    """Multinomial regression on both modalities' log-probabilities (Wolpert 1992).

    Attributes:
        reach: Which weights deviate from those of the pool; `all` becomes `own` where there are too
            many rows and categories for it.
    """

    name: str = "fusion_stacking"
    reach: Reach = "all"
    settings: StackingSettings = field(default_factory=StackingSettings)
    note: str = ""

    def fit(self, evidence: Evidence, seed: int) -> FusionModel:
        """Choose the penalty, and fit the deviations of all rows with it."""
        penalties = self.settings.penalties
        strata = strata_of(evidence.targets, evidence.is_official)
        fold = folds_of(strata, FOLDS, np.random.default_rng(seed))
        found = np.zeros(len(penalties))
        for number in np.unique(fold):
            others, fit_on = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
            if len(fit_on):
                test = evidence.take(others)
                for place, model in enumerate(self._path(evidence.take(fit_on), penalties)):
                    loss = log_loss(model.combine(test.text, test.image), test.targets)
                    found[place] += loss * len(others)
        best = int(found.argmin())
        return scaled(self._path(evidence, penalties[: best + 1])[-1], evidence)

    def _path(self, evidence: Evidence, penalties: Sequence[float]) -> list[FusionModel]:
        """Fit with each penalty, each fit starting from the one before."""
        pool = log_linear_pool(evidence)
        problem = _Problem.of(evidence, pool, self.reach)
        start = np.zeros(problem.size)
        found = []
        for penalty in penalties:
            start = problem.solved(start, penalty)
            found.append(problem.model(start, pool))
        return found


@dataclass(frozen=True)
class _Problem:
    """Deviations from a pool that minimise the penalised log loss.

    Attributes:
        inputs: Log-probabilities of text and image, shape `(2, rows, classes)`.
        base: Logits of the pool, shape `(rows, classes)`.
        targets: Column numbers, shape `(rows,)`.
    """

    inputs: Doubles
    base: Doubles
    targets: Integers
    reach: Reach

    @classmethod
    def of(cls, evidence: Evidence, pool: FusionModel, reach: Reach) -> "_Problem":
        inputs = np.stack([logs(evidence.text), logs(evidence.image)])
        if evidence.text.size * evidence.text.shape[1] > LARGEST:
            reach = "own"
        base = inputs[0] * pool.text_weights + inputs[1] * pool.image_weights
        return cls(inputs, base, evidence.targets, reach)

    @property
    def classes(self) -> int:
        return int(self.base.shape[1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weights: for each modality, and the bias beside them."""
        classes = self.classes
        return (2, classes) if self.reach == "own" else (2, classes, classes)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape)) + self.classes

    def solved(self, start: Doubles, penalty: float) -> Doubles:
        found: Doubles = minimize(
            self._loss, x0=start, args=(penalty,), jac=True, method="L-BFGS-B"
        ).x
        return found

    def model(self, deviations: Doubles, pool: FusionModel) -> FusionModel:
        """Return the pool with deviations."""
        weights, bias = self._split(deviations)
        shared = (pool.text_weights, pool.image_weights)
        if self.reach == "all":
            shared = (np.diag(shared[0]), np.diag(shared[1]))
        return FusionModel(
            text_weights=(shared[0] + weights[0]).astype(np.float32),
            image_weights=(shared[1] + weights[1]).astype(np.float32),
            bias=bias.astype(np.float32),
        )

    def _split(self, deviations: Doubles) -> tuple[Doubles, Doubles]:
        bias = deviations[-self.classes :]
        return deviations[: -self.classes].reshape(self.shape), bias

    def _loss(self, deviations: Doubles, penalty: float) -> tuple[float, Doubles]:
        """Return the penalised log loss and its gradient."""
        weights, bias = self._split(deviations)
        if self.reach == "own":
            moved = (self.inputs * weights[:, None]).sum(axis=0)
        else:
            moved = (self.inputs @ weights).sum(axis=0)
        found = softmax(self.base + moved + bias)
        loss = log_loss(found, self.targets) + penalty * float(deviations @ deviations)
        found[np.arange(len(self.targets)), self.targets] -= 1
        found /= len(self.targets)
        if self.reach == "own":
            slopes = (self.inputs * found).sum(axis=1)
        else:
            slopes = self.inputs.transpose(0, 2, 1) @ found
        slope = np.concatenate([slopes.ravel(), found.sum(axis=0)]) + 2 * penalty * deviations
        return loss, slope
