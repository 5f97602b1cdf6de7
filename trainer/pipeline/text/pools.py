"""Log-linear pools of text models, and cascades, whose first model answers alone if it is sure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.inference.releases.fusion_model import shifted
from trainer.candidates.calibration import Doubles, fit_weights, logs, softmax
from trainer.candidates.folds import out_of_fold, strata_of
from trainer.candidates.shrunken_pool import fit_by_category, pooled_logits
from trainer.pipeline.fitting import Part

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

#: A candidate with less weight than this is left out of the pool.
LEAST_WEIGHT = 0.01
#: Confidence from which the first model of a cascade answers alone.
ALONE_AT = 0.95


@dataclass(frozen=True)
class PoolRule:
    """Rule by which the weights of a pool are fitted.

    Attributes:
        targets: Column numbers of the held-out rows.
        is_official: Mask of those with an official label.
        chosen: Positions of the rows that decide.
        seed: Seed of the folds.
        is_by_category: Each category has weights of its own.
    """

    targets: Places
    is_official: NDArray[np.bool_]
    chosen: Places
    seed: int
    is_by_category: bool = False

    def fit(self, inputs: Floats, places: Places) -> tuple[Doubles, Doubles]:
        """Return weights `(models, classes)` and bias `(classes,)` by the deciding rows in some.

        A model that hardly helps gets no weight.
        """
        rows = np.intersect1d(places, self.chosen)
        weights = np.array(fit_weights([*inputs[:, rows]], self.targets[rows]))
        weights[weights <= LEAST_WEIGHT] = 0.0
        classes = inputs.shape[2]
        if not self.is_by_category:
            return np.repeat(weights[:, None], classes, axis=1), np.zeros(classes)
        used = np.flatnonzero(weights)
        strata = strata_of(self.targets[rows], self.is_official[rows])
        found = np.zeros((len(weights), classes))
        found[used], bias = fit_by_category(
            inputs[used][:, rows].astype(np.float64),
            weights[used],
            self.targets[rows],
            strata,
            self.seed,
        )
        return found, bias

    def judged(self, inputs: Floats) -> Floats:
        """Return probabilities by weights that were fitted without the row."""

        def score(fit_on: Places, others: Places) -> Floats:
            # Temperatures need no other fold: in a log-linear pool they only scale the weights.
            return pool_probabilities(inputs[:, others], *self.fit(inputs, fit_on))

        return out_of_fold(strata_of(self.targets, self.is_official), score, self.seed)


def plain_weight(weights: Doubles) -> float | tuple[float, ...]:
    """Return one weight if those of all categories are equal."""
    if np.ptp(weights) == 0:
        return float(weights[0])
    return tuple(weights.tolist())


def pool_probabilities(inputs: Floats | Doubles, weights: Doubles, bias: Doubles) -> Floats:
    """Return the probabilities of a pool, shape `(rows, classes)`.

    Args:
        inputs: Log-probabilities, shape `(models, rows, classes)`.
        weights: Shape `(models, classes)`.
        bias: Shape `(classes,)`.
    """
    logits = pooled_logits(inputs.astype(np.float64), weights, bias)
    found: Floats = softmax(logits).astype(np.float32)
    return found


def probabilities_of(parts: Sequence[Part], products: Any) -> Floats:
    """Return the probabilities of a fitted model, shape `(products, classes)`.

    Args:
        parts: Parts of the model.
        products: Prepared texts, or images, as the candidates of the parts read them.
    """
    answers = [
        softmax(part.candidate.predict(products, part.folder) / np.float32(part.temperature))
        for part in parts
    ]
    classes = answers[0].shape[1]
    weights = np.stack([np.broadcast_to(part.weight, (classes,)) for part in parts])
    bias = np.sum([part.bias for part in parts if part.bias], axis=0, initial=0.0)
    inputs = np.stack([logs(one) for one in answers])
    found = pool_probabilities(inputs, weights, np.broadcast_to(bias, (classes,)))
    for part, alone in zip(parts, answers, strict=True):
        found = cascaded(alone, found) if part.alone_at else found
    ratios = next((part.ratios for part in parts if part.ratios), None)
    return shifted(found, np.array(ratios)) if ratios else found


def cascaded(alone: Floats, pooled: Floats) -> Floats:
    """Return the first model's probabilities where it is sure, and elsewhere those of the pool.

    Both have the shape `(…, rows, classes)`.
    """
    is_alone = alone.max(axis=-1, keepdims=True) >= np.float32(ALONE_AT)
    found: Floats = np.where(is_alone, alone, pooled).astype(np.float32)
    return found
