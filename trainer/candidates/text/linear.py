"""Linear classifiers on sparse rows: a support vector machine, and a softmax for large data."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from sklearn.svm import LinearSVC

from trainer.candidates.protocols import FitContext, Floats, Labels

#: A category without a row to learn from is never predicted.
NEVER = -100.0
#: Beyond either, the machine would be fitted for hours, or in many copies of the rows. It is fitted
#: once for each category, and its library copies each weight into 16 bytes.
MOST_WEIGHTS_OF_A_MACHINE = 50_000_000
MOST_STEPS_OF_A_MACHINE = 2_000_000_000


@dataclass(frozen=True)
class Planes:
    """Hyperplanes of a classifier.

    Attributes:
        weights: Weight of each column for each category, shape `(columns, classes)`.
        bias: Shape `(classes,)`.
    """

    weights: Floats
    bias: Floats


@dataclass(frozen=True)
class SoftmaxSettings:
    """Steps of the softmax.

    At 27 categories it is .003 F1 below the support vector machine on the same n-grams, after four
    epochs as after eight (`make ngrams`).
    """

    epochs: int = 4
    rate: float = 0.4
    rows: int = 512


def is_small(rows: sparse.csr_matrix, classes: int) -> bool:
    """Return True if a support vector machine is fitted within minutes and memory."""
    weights = int(rows.nnz)
    return weights <= MOST_WEIGHTS_OF_A_MACHINE and weights * classes <= MOST_STEPS_OF_A_MACHINE


def fit_machine(
    rows: sparse.csr_matrix, labels: Labels, penalty: float, iterations: int, seed: int
) -> Planes:
    """Fit a support vector machine, one category against the rest."""
    machine = LinearSVC(C=penalty, max_iter=iterations, random_state=seed)
    machine.fit(rows, labels.targets, sample_weight=labels.weights)
    planes, bias = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:
        # Two classes share one hyperplane, with the second class on its positive side.
        planes, bias = np.concatenate([-planes, planes]), np.concatenate([-bias, bias])
    return _of_all(Planes(planes.T, bias), machine.classes_, labels.classes)


def fit_softmax(
    rows: sparse.csr_matrix, labels: Labels, settings: SoftmaxSettings, context: FitContext
) -> Planes:
    """Fit a softmax by AdaGrad: all categories in one pass over the rows.

    Duchi, Hazan and Singer, "Adaptive Subgradient Methods" (2011): rare n-grams take larger steps.
    Only the columns of the rows at hand are read and written.
    """
    present, targets = np.unique(labels.targets, return_inverse=True)
    random = np.random.default_rng(context.seed)
    planes = Planes(
        np.zeros((rows.shape[1], len(present)), np.float32), np.zeros(len(present), np.float32)
    )
    seen = Planes(np.full_like(planes.weights, 1e-8), np.full_like(planes.bias, 1e-8))
    steps = settings.epochs * -(-len(targets) // settings.rows)
    done = 0
    for epoch in range(settings.epochs):
        order, loss = random.permutation(len(targets)), 0.0
        for start in range(0, len(order), settings.rows):
            drawn = order[start : start + settings.rows]
            rate = settings.rate * (1 - done / steps)
            loss += _step(planes, seen, rows[drawn], targets[drawn], labels.weights[drawn], rate)
            done += 1
        context.log_line(f"softmax, epoch {epoch + 1}: loss {loss / len(order):.4f}")
    return _of_all(planes, present, labels.classes)


def _step(
    planes: Planes,
    seen: Planes,
    rows: sparse.csr_matrix,
    targets: NDArray[np.int64],
    weights: Floats,
    rate: float,
) -> float:
    """Take one step down the gradient; return the sum of the losses before it."""
    probabilities = rows @ planes.weights + planes.bias
    probabilities -= probabilities.max(axis=1, keepdims=True)
    np.exp(probabilities, out=probabilities)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    each = np.arange(len(targets))
    loss = -(weights * np.log(np.maximum(probabilities[each, targets], 1e-12))).sum()
    error = probabilities
    error[each, targets] -= 1
    error *= weights[:, None] / len(targets)
    columns, places = np.unique(rows.indices, return_inverse=True)
    narrow = sparse.csr_matrix((rows.data, places, rows.indptr), (len(targets), len(columns)))
    gradient = narrow.T @ error
    squares = seen.weights[columns] + gradient**2
    seen.weights[columns] = squares
    planes.weights[columns] -= rate * gradient / np.sqrt(squares)
    shift = error.sum(axis=0)
    seen.bias[:] += shift**2
    planes.bias[:] -= rate * shift / np.sqrt(seen.bias)
    return float(loss)


def _of_all(planes: Planes, present: NDArray[np.int64], classes: int) -> Planes:
    """Return hyperplanes of all categories, from those of the categories with a row."""
    weights = np.zeros((len(planes.weights), classes), np.float32)
    bias = np.full(classes, NEVER, np.float32)
    weights[:, present] = planes.weights
    bias[present] = planes.bias
    return Planes(weights, bias)
