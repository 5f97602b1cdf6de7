"""Ideas to combine models: each fits on some rows and scores others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from tests.bench.quality.combining.scores import Doubles, Floats, Rows
from trainer.candidates.calibration import fit_temperature, fit_weights, log_loss, softmax
from trainer.candidates.folds import FOLDS, folds_of
from trainer.candidates.fusion.pools import ENOUGH_TO_CALIBRATE
from trainer.candidates.fusion.stacking import StackingSettings
from trainer.candidates.shrunken_pool import Reach, ShrunkenPool, pooled_logits

#: From the log-probabilities of the models, `(models, rows, classes)`, to logits.
Combine = Callable[[Doubles], Doubles]
#: Inverse penalty of a regression that is shrunk to zero.
INVERSE_PENALTY = 0.02
#: Penalty of squared deviations of weights that depend on the confidence.
GATE_PENALTY = 1e-2
SMALLEST = 1e-9


@dataclass(frozen=True)
class Idea:
    """A way to combine models.

    Attributes:
        name: Shown in the table.
        fit: Fits on rows.
    """

    name: str
    fit: Callable[[Rows], Combine]

    def score(self, fit_on: Rows, others: Rows) -> Floats:
        """Fit, calibrate on officially labelled rows if there are enough, and score others."""
        combine = self.fit(fit_on)
        official = fit_on.take(np.flatnonzero(fit_on.is_official))
        temperature = 1.0
        if len(official.targets) >= ENOUGH_TO_CALIBRATE:
            temperature = fit_temperature(combine(official.inputs), official.targets)
        return softmax(combine(others.inputs) / temperature).astype(np.float32)


def text_ideas(names: Sequence[str]) -> list[Idea]:
    """Return the ideas for several models of one modality; the reference comes first."""
    return [
        Idea("log-linear pool, a weight by model", pool),
        *(Idea(f"{name} alone", alone(place)) for place, name in enumerate(names)),
        Idea("mean of the probabilities", mean),
        Idea("weights by category, shrunk to the pool", shrunken("own")),
        Idea("stacking, shrunk to the pool", shrunken("all")),
        Idea("pool, weights by confidence", gated_pool),
    ]


def pair_ideas() -> list[Idea]:
    """Return the ideas for text and image; the reference comes first."""
    return [
        Idea("text alone", alone(0)),
        Idea("log-linear pool, a weight by modality", pool),
        Idea("image alone", alone(1)),
        Idea("weighted mean of the probabilities", weighted_mean),
        Idea("pool fitted on official rows only", official_pool),
        Idea("pool, official rows count as much as weak", balanced_pool),
        Idea("temperatures and weights by category", shrunken("own")),
        Idea("stacking, shrunk to the pool", shrunken("all")),
        Idea("stacking, shrunk to zero", regression),
        Idea("pool, weights by confidence", gated_pool),
        Idea("mean, weight by confidence", gated_mean),
    ]


def alone(place: int) -> Callable[[Rows], Combine]:
    """Return an idea that uses one model."""
    return lambda _: lambda inputs: inputs[place]


def mean(_: Rows) -> Combine:
    """Weigh the probabilities of all models equally."""
    return lambda inputs: np.log(np.exp(inputs).mean(axis=0))


def weighted_mean(rows: Rows) -> Combine:
    """Fit the weight of the first of two models in a mean of probabilities."""
    first, second = np.exp(rows.inputs)

    def loss(weight: Doubles) -> float:
        return log_loss(weight[0] * first + (1 - weight[0]) * second, rows.targets)

    weight = float(minimize(loss, x0=np.array([0.7]), bounds=[(0, 1)]).x[0])
    return lambda inputs: np.log(
        weight * np.exp(inputs[0]) + (1 - weight) * np.exp(inputs[1]) + SMALLEST
    )


def pool(rows: Rows) -> Combine:
    """Fit a weight for each model."""
    return _pool(_pool_weights(rows))


def official_pool(rows: Rows) -> Combine:
    """Fit the weights on officially labelled rows alone."""
    return pool(rows.take(np.flatnonzero(rows.is_official)))


def balanced_pool(rows: Rows) -> Combine:
    """Fit the weights with as much weight on the officially labelled rows as on the others."""
    official, weak = np.flatnonzero(rows.is_official), np.flatnonzero(~rows.is_official)
    repeats = max(1, len(weak) // max(1, len(official)))
    return pool(rows.take(np.concatenate([weak, np.tile(official, repeats)])))


def shrunken(reach: Reach) -> Callable[[Rows], Combine]:
    """Return weights by category, with a penalty that is chosen by cross-validation."""

    def fit(rows: Rows) -> Combine:
        penalties = StackingSettings().penalties
        fold = folds_of(rows.strata, FOLDS, np.random.default_rng(0))
        losses = np.zeros(len(penalties))
        for number in range(FOLDS):
            test = rows.take(np.flatnonzero(fold == number))
            path = _path(rows.take(np.flatnonzero(fold != number)), reach, penalties)
            losses += [
                log_loss(softmax(pooled_logits(test.inputs, *found)), test.targets)
                for found in path
            ]
        best = _path(rows, reach, penalties[: int(losses.argmin()) + 1])[-1]
        return lambda inputs: pooled_logits(inputs, *best)

    return fit


def regression(rows: Rows) -> Combine:
    """Fit a multinomial regression on all log-probabilities, without the pool as its centre."""
    fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=500)
    fitted.fit(_flat(rows.inputs), rows.targets)
    weights = np.zeros((_flat(rows.inputs).shape[1], rows.inputs.shape[2]))
    bias = np.full(rows.inputs.shape[2], -10.0)
    weights[:, fitted.classes_], bias[fitted.classes_] = fitted.coef_.T, fitted.intercept_
    return lambda inputs: _flat(inputs) @ weights + bias


def gated_pool(rows: Rows) -> Combine:
    """Fit weights of a pool that depend on the confidence of every model in the row."""
    models = len(rows.inputs)
    start = np.concatenate([_pool_weights(rows)[:, None], np.zeros((models, models))], axis=1)

    def combined(inputs: Doubles, values: Doubles) -> Doubles:
        by_row = values.reshape(start.shape) @ _confidence(inputs)
        found: Doubles = (by_row[:, :, None] * inputs).sum(axis=0)
        return found

    def loss(values: Doubles) -> float:
        penalty = GATE_PENALTY * float(((values - start.ravel()) ** 2).sum())
        return log_loss(softmax(combined(rows.inputs, values)), rows.targets) + penalty

    found = minimize(loss, x0=start.ravel(), method="L-BFGS-B").x
    return lambda inputs: combined(inputs, found)


def gated_mean(rows: Rows) -> Combine:
    """Fit a weight of the first of two models that depends on the confidence of both."""

    def combined(inputs: Doubles, values: Doubles) -> Doubles:
        share = 1 / (1 + np.exp(-values @ _confidence(inputs)))[:, None]
        found: Doubles = share * np.exp(inputs[0]) + (1 - share) * np.exp(inputs[1])
        return found

    def loss(values: Doubles) -> float:
        return log_loss(combined(rows.inputs, values), rows.targets)

    found = minimize(loss, x0=np.array([1.0, 0.0, 0.0]), method="L-BFGS-B").x
    return lambda inputs: np.log(combined(inputs, found) + SMALLEST)


def _confidence(inputs: Doubles) -> Doubles:
    """Return one and the log-odds of each model's likeliest category, `(1 + models, rows)`."""
    top = np.clip(np.exp(inputs.max(axis=2)), 1e-3, 1 - 1e-3)
    return np.concatenate([np.ones((1, top.shape[1])), np.log(top / (1 - top))])


def _pool_weights(rows: Rows) -> Doubles:
    return np.array(fit_weights([one.astype(np.float32) for one in rows.inputs], rows.targets))


def _pool(weights: Doubles) -> Combine:
    return lambda inputs: np.tensordot(weights, inputs, axes=1)


def _path(rows: Rows, reach: Reach, penalties: Sequence[float]) -> list[tuple[Doubles, Doubles]]:
    weights = _pool_weights(rows)
    return ShrunkenPool(rows.inputs, weights, rows.targets, reach).path(penalties)


def _flat(inputs: Doubles) -> NDArray[np.float64]:
    return np.concatenate([*inputs], axis=1)
