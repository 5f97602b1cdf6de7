"""Category set: the codes that a release can predict, their names and their order.

A shop names its categories by codes, by texts ("Chaussures") or by paths in a tree ("Maison >
Literie"). A release has a code for each; `trainer.datasets.labels` makes those of texts.
"""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from shared.readable import has_words

#: Codes from here on, of nine digits, are made for categories that a shop names by texts alone.
FIRST_MADE_CODE = 100_000_000
#: Separator of the parts of a path, and all spellings of it.
ARROW = ">"
_ARROWS = re.compile(r"[-=]?>|[›»→]")
_AROUND_SEPARATOR = re.compile(r"\s*([>/|\\])\s*")
_IGNORED = ("Mn", "Cf", "Cc")


def label_text(raw: str) -> str:
    """Return a label as it is shown, without repeated spaces; empty for a placeholder."""
    text = html.unescape(raw) if "&" in raw else raw
    shown = "".join(one for one in text if one.isspace() or unicodedata.category(one) != "Cf")
    return " ".join(shown.split()) if has_words(shown) else ""


def label_key(text: str) -> str:
    """Return what equal labels have in common: case, accents and spaces make no other label.

    >>> label_key("Maison  › Literie") == label_key("maison>literie")
    True
    """
    plain = unicodedata.normalize("NFKD", html.unescape(text))
    kept = (one for one in plain if one.isspace() or unicodedata.category(one) not in _IGNORED)
    folded = " ".join("".join(kept).casefold().split())
    return _AROUND_SEPARATOR.sub(r"\1", _ARROWS.sub(ARROW, folded)).strip(f" {ARROW}")


def path_of(name: str, separator: str) -> tuple[str, ...]:
    """Return the parts of a category's name, from the root of the tree.

    Args:
        name: Name of the category.
        separator: `>` for any arrow, or another character; empty if the names are not paths.
    """
    if not separator:
        return ()
    parts = _ARROWS.split(name) if separator == ARROW else name.split(separator)
    return tuple(part.strip() for part in parts if part.strip())


class Category(BaseModel):
    """One category: the shop's code (`prdtypecode`), its name, and its place in a tree.

    Attributes:
        code: Code of the shop, or one that was made for the name.
        name: Name as the shop writes it; for a tree the whole path.
        path: Parts of the name from the root of the tree; empty without a tree.
    """

    model_config = ConfigDict(frozen=True)

    code: int
    name: str
    path: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _as_before_without_a_path(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Releases without a tree keep the digest that they had before trees.
        found: dict[str, Any] = handler(self)
        if not self.path:
            found.pop("path", None)
        return found


class CategorySet(BaseModel):
    """Categories in the order of a model's probability columns."""

    model_config = ConfigDict(frozen=True)

    categories: tuple[Category, ...]

    @field_validator("categories")
    @classmethod
    def _codes_are_unique(cls, categories: tuple[Category, ...]) -> tuple[Category, ...]:
        counts = Counter(category.code for category in categories)
        repeated = sorted(code for code, count in counts.items() if count > 1)
        if len(categories) < 2 or repeated:
            raise ValueError(
                f"expected two or more categories, each code once. "
                f"Received: {len(categories)} categories, repeated codes {repeated}"
            )
        return categories

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, str]], separator: str = "") -> "CategorySet":
        """Build a set from `(code, name)` pairs; names are paths if there is a separator."""
        return cls(
            categories=tuple(
                Category(code=code, name=name, path=path_of(name, separator))
                for code, name in pairs
            )
        )

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """Codes in the order of the set."""
        return tuple(category.code for category in self.categories)

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {code: position for position, code in enumerate(self.codes)}

    @cached_property
    def _by_text(self) -> dict[str, int]:
        """Code by the key of each name, and of each last part that only one path has."""
        leaves = [label_key(one.path[-1]) if one.path else "" for one in self.categories]
        count = Counter(leaves)
        pairs = zip(leaves, self.codes, strict=True)
        found = {leaf: code for leaf, code in pairs if leaf and count[leaf] == 1}
        return found | {label_key(one.name): one.code for one in reversed(self.categories)}

    def __len__(self) -> int:
        return len(self.categories)

    def __contains__(self, code: object) -> bool:
        return code in self._positions

    def index(self, code: int) -> int:
        """Return the column of a code. Raises `KeyError` for a code outside the set."""
        return self._positions[code]

    def name(self, code: int) -> str:
        """Return the readable name of a code. Raises `KeyError` for a code outside the set."""
        return self.categories[self._positions[code]].name

    def path(self, code: int) -> tuple[str, ...]:
        """Return the path of a code; empty without a tree. Raises `KeyError` like `name`."""
        return self.categories[self._positions[code]].path

    def find(self, text: str) -> int | None:
        """Return the code of the category that a person names; `None` if there is none.

        Args:
            text: Name of a category, or a last part of its path that no other path has; without
                regard to case, accents and spaces.
        """
        return self._by_text.get(label_key(text)) if label_text(text) else None
