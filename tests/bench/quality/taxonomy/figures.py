"""F1 of answers in a tree: of its leaves, of its upper levels, and of rare categories."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from tests.bench.quality.taxonomy.shop import Leaf
from trainer.monitoring.performance.levels import measured_levels
from trainer.release.tree_levels import Tree

Codes = NDArray[np.int64]
#: Code of a product without an answer.
NO_ANSWER = -1


@dataclass(frozen=True)
class TreeF1:
    """F1 of some answers, each 0 to 1.

    Attributes:
        weighted: Mean over the categories, by their share of the shop's products.
        macro: Plain mean over the categories.
        levels: Weighted F1 at each level of the tree, from the roots to the leaves.
        rare: Plain mean over the categories with few rows.
    """

    rows: int
    weighted: float
    macro: float
    levels: tuple[float, ...]
    rare: float

    def cells(self) -> list[str]:
        """Return the figures as cells of a table: see `HEADER`."""
        numbers = (self.weighted, self.macro, self.rare, *self.levels)
        return [f"{self.rows:,}", *(f"{number:.3f}" for number in numbers)]

    def as_json(self) -> dict[str, object]:
        """Return the figures by name."""
        return asdict(self)


HEADER = ["rows", "weighted", "macro", "rare", "level 1", "level 2", "level 3"]


def tree_f1(truth: Codes, answers: Codes, leaves: Sequence[Leaf]) -> TreeF1:
    """Measure answers.

    The rows may have other shares of the categories than the shop, so that rare ones are measured
    well; weights restore the shop's shares.

    Args:
        truth: True codes, shape `(rows,)`.
        answers: Codes of the answers; `NO_ANSWER` for a row without one.
        leaves: Categories that count; each of them needs a row.
    """
    tree = Tree({leaf.code: leaf.path for leaf in leaves})
    weights = shop_weights(truth, leaves)
    codes = [leaf.code for leaf in leaves]
    rare = [leaf.code for leaf in leaves if leaf.is_rare]
    return TreeF1(
        rows=len(truth),
        weighted=_f1(truth, answers, weights),
        macro=_mean_f1(truth, answers, codes),
        levels=tuple(one.f1 for one in measured_levels(tree, truth, answers, weights)),
        rare=_mean_f1(truth, answers, rare),
    )


def shop_weights(truth: Codes, leaves: Sequence[Leaf]) -> NDArray[np.float64]:
    """Return the products of the shop that each row stands for, shape `(rows,)`."""
    rows = {leaf.code: leaf.rows for leaf in leaves}
    counts = dict(zip(*np.unique(truth, return_counts=True), strict=True))
    return np.array([rows[int(code)] / counts[code] for code in truth])


def category_f1(truth: Codes, answers: Codes, code: int) -> float:
    """Return the F1 of one category."""
    return _mean_f1(truth, answers, [code])


def _f1(
    truth: NDArray[np.generic], answers: NDArray[np.generic], weights: NDArray[np.float64]
) -> float:
    options = {"average": "weighted", "sample_weight": weights, "zero_division": 0}
    return float(f1_score(truth, answers, **options))


def _mean_f1(truth: Codes, answers: Codes, codes: Sequence[int]) -> float:
    """Return the plain mean of the F1 of some categories; 0 without any."""
    if not codes:
        return 0.0
    return float(f1_score(truth, answers, labels=codes, average="macro", zero_division=0))
