"""Fusions with weights by category, shrunk towards the log-linear pool.

With few products that have both modalities, weights by category are mostly noise. So they are
fitted as deviations from the two weights of the pool, under a penalty (ridge) whose strength is
chosen by cross-validation: where the rows do not support a deviation, the pool remains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.inference.releases.fusion_model import FusionModel
from trainer.candidates.calibration import Doubles, log_loss, logs
from trainer.candidates.folds import FOLDS, folds_of, strata_of
from trainer.candidates.fusion.pools import Evidence, log_linear_pool, scaled
from trainer.candidates.shrunken_pool import PENALTIES, Reach, ShrunkenPool

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
#: Most `max(rows, categories) * categories ** 2` with which weights between all categories are
#: fitted: the nested cross-validation of more would take hours.
LARGEST = 10_000_000


@dataclass(frozen=True)
class StackingSettings:
    """Penalties of squared deviations to choose from, the strongest first."""

    penalties: tuple[float, ...] = PENALTIES


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
        inputs = np.stack([logs(evidence.text), logs(evidence.image)])
        rows, classes = evidence.text.shape
        reach = self.reach if max(rows, classes) * classes**2 <= LARGEST else "own"
        shared = np.array([pool.text_weights[0], pool.image_weights[0]], np.float64)
        problem = ShrunkenPool(inputs, shared, evidence.targets, reach)
        return [_model(*found) for found in problem.path(penalties)]


def _model(weights: Doubles, bias: Doubles) -> FusionModel:
    text, image = weights.astype(np.float32)
    return FusionModel(text, image, bias.astype(np.float32))
