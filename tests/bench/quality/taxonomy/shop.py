"""A made-up shop with a large tree of categories and long-tailed numbers of products."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.support import made_up_shop

#: Code of the first category in the shop's tables.
FIRST_CODE = 1_000
#: Rows of a rare category, and rows that the smallest ones have.
RARE_ROWS, FEWEST_ROWS = 10, 5
#: Rows of the largest category, and the exponent by which the others fall with their rank.
MOST_ROWS, FALL = 300, 0.75
#: Words of a root, of a family, of which each of its leaves has some, and of all products.
ROOT_WORDS, FAMILY_WORDS, LEAF_WORDS, COMMON_WORDS = 12, 24, 6, 200
#: Probability that a word of a product is one of its leaf, its root, or of all products.
WORD_SHARES = (0.35, 0.2, 0.45)
#: Words of a title, and of a description, which every second product has.
TITLE_WORDS, DESCRIPTION_WORDS = (3, 7), (4, 12)
SYLLABLES = [*made_up_shop.SYLLABLES, "tin", "kel", "wos", "pra", "nym"]


@dataclass(frozen=True)
class Tree:
    """Numbers of nodes: roots, families of a root, leaves of a family."""

    roots: int = 10
    families: int = 10
    leaves: int = 5

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self.roots * self.families * self.leaves


@dataclass(frozen=True)
class Leaf:
    """A category: its code, its place in the tree, its number of rows and its words.

    Attributes:
        rows: Rows of the first dataset.
        words: Words of the leaf and of its root. Siblings share some words of the leaf.
    """

    code: int
    path: tuple[str, str, str]
    rows: int
    words: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def name(self) -> str:
        """Whole path, as the shop writes it."""
        return " > ".join(self.path)

    @property
    def is_rare(self) -> bool:
        """True for a category with few rows."""
        return self.rows <= RARE_ROWS


class Shop:
    """Generator of the categories and products of one shop; equal seeds make equal shops."""

    def __init__(self, seed: int = 0, tree: Tree | None = None) -> None:
        self._random = np.random.default_rng(seed)
        self._made: set[str] = set()
        self._common = self._words(COMMON_WORDS)
        self.leaves = self._leaves(tree or Tree())

    def products(self, counts: Mapping[int, int]) -> pd.DataFrame:
        """Return new products in random order: `designation`, `description` and `code`.

        Args:
            counts: Number of products by code.
        """
        leaves = {leaf.code: leaf for leaf in self.leaves}
        rows = [
            (self._title(leaves[code]), self._description(leaves[code]), code)
            for code, count in counts.items()
            for _ in range(count)
        ]
        table = pd.DataFrame(rows, columns=["designation", "description", "code"])
        return table.iloc[self._random.permutation(len(table))].reset_index(drop=True)

    def _leaves(self, tree: Tree) -> list[Leaf]:
        ranks = self._random.permutation(tree.size) + 1
        found: list[Leaf] = []
        for _ in range(tree.roots):
            root, of_root = self._word().capitalize(), self._words(ROOT_WORDS)
            for _ in range(tree.families):
                family, of_family = self._word().capitalize(), self._words(FAMILY_WORDS)
                for _ in range(tree.leaves):
                    rank = ranks[len(found)]
                    words = self._random.choice(of_family, LEAF_WORDS, replace=False)
                    found.append(
                        Leaf(
                            FIRST_CODE + len(found),
                            (root, family, self._word().capitalize()),
                            max(FEWEST_ROWS, round(MOST_ROWS / rank**FALL)),
                            (tuple(map(str, words)), of_root),
                        )
                    )
        return found

    def _title(self, leaf: Leaf) -> str:
        brand = "".join(self._one_of(SYLLABLES) for _ in range(3)).capitalize()
        return f"{self._text(leaf, TITLE_WORDS)} {brand} {int(self._random.integers(1_000))}"

    def _description(self, leaf: Leaf) -> str:
        return self._text(leaf, DESCRIPTION_WORDS) if self._random.random() < 0.5 else ""

    def _text(self, leaf: Leaf, lengths: tuple[int, int]) -> str:
        sources: Sequence[tuple[str, ...]] = (*leaf.words, self._common)
        drawn = self._random.choice(len(sources), self._random.integers(*lengths), p=WORD_SHARES)
        return " ".join(self._one_of(sources[source]) for source in drawn)

    def _words(self, count: int) -> tuple[str, ...]:
        return tuple(self._word() for _ in range(count))

    def _word(self) -> str:
        """Return a word that no other node has."""
        while (word := "".join(self._one_of(SYLLABLES) for _ in range(3))) in self._made:
            pass
        self._made.add(word)
        return word

    def _one_of(self, words: Sequence[str]) -> str:
        # An array of strings for each word, as `choice` makes it, would take most of the time.
        return words[int(self._random.integers(len(words)))]


def truth_of(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return the true code of each row."""
    return rows["code"].to_numpy(np.int64)
