"""Levels of a tree of categories: an answer is right at a level if its ancestor there is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.categories import Category
from trainer.release.intervals import Interval, f1_interval

Codes = NDArray[np.int64]
#: Code of a node, below all codes of categories; further ones follow downwards.
FIRST_NODE = -1_000


@dataclass(frozen=True)
class Tree:
    """Paths of the categories of a tree, from its root, by code."""

    paths: Mapping[int, tuple[str, ...]]

    @classmethod
    def of(cls, categories: Sequence[Category]) -> "Tree":
        """Return the tree of some categories; it has no levels if none of them has a path."""
        return cls({one.code: one.path for one in categories if one.path})

    @property
    def depth(self) -> int:
        """Number of levels; 0 where no path has two parts."""
        depth = max(map(len, self.paths.values()), default=0)
        return depth if depth > 1 else 0

    def levels(self, *codes: Codes) -> Iterator[tuple[Codes, ...]]:
        """Yield the nodes of categories at each level, from the roots to the leaves.

        A category above a level is its own node there, and so is a code outside the tree.

        Args:
            codes: Arrays of codes, each with a shape of its own. The nodes have the same shapes.
        """
        for depth in range(1, self.depth + 1):
            numbers: dict[tuple[str, ...], int] = {}
            nodes = {
                code: numbers.setdefault(path[:depth], FIRST_NODE - len(numbers))
                for code, path in self.paths.items()
            }
            yield tuple(_mapped(some, nodes) for some in codes)


def level_intervals(tree: Tree, truth: Codes, answers: Codes) -> tuple[Interval, ...]:
    """Return the weighted F1 at each level with its interval; none without a tree.

    Args:
        tree: The categories.
        truth: True codes, shape `(rows,)`.
        answers: Answered codes, shape `(rows,)`.
    """
    return tuple(f1_interval(true, found[None]) for true, found in tree.levels(truth, answers))


def _mapped(codes: Codes, nodes: Mapping[int, int]) -> Codes:
    found, places = np.unique(codes, return_inverse=True)
    mapped = np.array([nodes.get(int(code), int(code)) for code in found], np.int64)
    return mapped[places].reshape(codes.shape)
