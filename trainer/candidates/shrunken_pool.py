"""Log-linear pools with weights by category, shrunk towards one weight for each model.

Weights by category are mostly noise where few rows support them. So they are fitted as deviations
from the weights of the pool, under a penalty (ridge) whose strength is chosen by cross-validation:
where the rows do not support a deviation, the pool remains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from trainer.candidates.calibration import Doubles, log_loss, softmax
from trainer.candidates.folds import FOLDS, folds_of

Integers = NDArray[np.int64]
#: Penalties of squared deviations to choose from, the strongest first.
PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
#: Relative gain of the loss below which a fit ends.
SMALLEST_GAIN = 1e-6
#: `own`: each category weighs its own probabilities. `all`: also those of all other categories.
Reach = Literal["own", "all"]


@dataclass(frozen=True)
class ShrunkenPool:
    """A log-linear pool whose weights by category are penalised deviations from common ones.

    Attributes:
        inputs: Log-probabilities of each model, shape `(models, rows, classes)`.
        shared: Weight of each model in the pool, shape `(models,)`.
        targets: Column numbers, shape `(rows,)`.
        reach: Which weights deviate.
    """

    inputs: Doubles
    shared: Doubles
    targets: Integers
    reach: Reach

    def path(self, penalties: Sequence[float]) -> list[tuple[Doubles, Doubles]]:
        """Return weights and bias for each penalty; each fit starts from the one before.

        Weights have the shape `(models, classes)` or `(models, classes, classes)`.
        """
        # Its products are small: with several threads each takes longer, and a hundred times as
        # long if other programs use the cores.
        with threadpool_limits(limits=1, user_api="blas"):
            return self._path(penalties)

    def _path(self, penalties: Sequence[float]) -> list[tuple[Doubles, Doubles]]:
        deviations = np.zeros(int(np.prod(self._shape)) + self._classes)
        found = []
        for penalty in penalties:
            deviations = minimize(
                self._loss,
                x0=deviations,
                args=(penalty,),
                jac=True,
                method="L-BFGS-B",
                options={"ftol": SMALLEST_GAIN},
            ).x
            weights, bias = self._split(deviations)
            found.append((self._common + weights, bias))
        return found

    @property
    def _classes(self) -> int:
        return int(self.inputs.shape[2])

    @cached_property
    def _absent(self) -> Integers:
        """Columns of the categories that no row has."""
        return np.setdiff1d(np.arange(self._classes), self.targets)

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        models, _, classes = self.inputs.shape
        return (models, classes) if self.reach == "own" else (models, classes, classes)

    @cached_property
    def _common(self) -> Doubles:
        """Weights of the pool in the shape of the deviations."""
        if self.reach == "own":
            return np.repeat(self.shared[:, None], self._classes, axis=1)
        return np.stack([weight * np.eye(self._classes) for weight in self.shared])

    def _split(self, deviations: Doubles) -> tuple[Doubles, Doubles]:
        bias = deviations[-self._classes :]
        return deviations[: -self._classes].reshape(self._shape), bias

    def _loss(self, deviations: Doubles, penalty: float) -> tuple[float, Doubles]:
        """Return the penalised log loss and its gradient."""
        weights, bias = self._split(deviations)
        logits = pooled_logits(self.inputs, self._common + weights, bias)
        # Categories without rows keep the weights of the pool: nothing speaks for or against them.
        logits[:, self._absent] = -np.inf
        found = softmax(logits)
        loss = log_loss(found, self.targets) + penalty * float(deviations @ deviations)
        found[np.arange(len(self.targets)), self.targets] -= 1
        found /= len(self.targets)
        if self.reach == "own":
            slopes = (self.inputs * found).sum(axis=1)
        else:
            slopes = self.inputs.transpose(0, 2, 1) @ found
        slope = np.concatenate([slopes.ravel(), found.sum(axis=0)]) + 2 * penalty * deviations
        return loss, slope


def pooled_logits(inputs: Doubles, weights: Doubles, bias: Doubles) -> Doubles:
    """Return the logits of a pool, shape `(rows, classes)`."""
    weighted = inputs * weights[:, None] if weights.ndim == 2 else inputs @ weights
    found: Doubles = weighted.sum(axis=0) + bias
    return found


def fit_by_category(
    inputs: Doubles, shared: Doubles, targets: Integers, strata: Integers, seed: int
) -> tuple[Doubles, Doubles]:
    """Return weights `(models, classes)` and bias `(classes,)` with the penalty that predicts best.

    Args:
        inputs: Log-probabilities of each model, shape `(models, rows, classes)`.
        shared: Weight of each model in the pool, shape `(models,)`.
        targets: Column numbers, shape `(rows,)`.
        strata: Group of each row, of which every fold gets its share.
        seed: Seed of the folds.
    """
    fold = folds_of(strata, FOLDS, np.random.default_rng(seed))
    losses = np.zeros(len(PENALTIES))
    for number in np.unique(fold):
        fit_on, others = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if len(fit_on):
            problem = ShrunkenPool(inputs[:, fit_on], shared, targets[fit_on], "own")
            for place, found in enumerate(problem.path(PENALTIES)):
                logits = pooled_logits(inputs[:, others], *found)
                losses[place] += log_loss(softmax(logits), targets[others]) * len(others)
    best = int(losses.argmin())
    return ShrunkenPool(inputs, shared, targets, "own").path(PENALTIES[: best + 1])[-1]
