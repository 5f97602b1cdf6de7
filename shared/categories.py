"""A category set: the codes a release can predict, their names, and their order."""

from collections.abc import Iterable
from functools import cached_property

from pydantic import BaseModel, ConfigDict, field_validator


class Category(BaseModel):
    """One category: the shop's code (`prdtypecode`) and a readable name."""

    model_config = ConfigDict(frozen=True)

    code: int
    name: str


class CategorySet(BaseModel):
    """Categories in the order of a model's probability columns."""

    model_config = ConfigDict(frozen=True)

    categories: tuple[Category, ...]

    @field_validator("categories")
    @classmethod
    def _no_code_twice(cls, categories: tuple[Category, ...]) -> tuple[Category, ...]:
        codes = [category.code for category in categories]
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if len(codes) < 2 or twice:
            raise ValueError(
                f"expected two or more categories, each code once. "
                f"Received: {len(codes)} categories, repeated codes {twice}"
            )
        return categories

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, str]]) -> "CategorySet":
        """Build a set from `(code, name)` pairs."""
        return cls(categories=tuple(Category(code=code, name=name) for code, name in pairs))

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """The codes, in order."""
        return tuple(category.code for category in self.categories)

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {code: position for position, code in enumerate(self.codes)}

    def __len__(self) -> int:
        return len(self.categories)

    def __contains__(self, code: object) -> bool:
        return code in self._positions

    def index(self, code: int) -> int:
        """Column of a code. Raises `KeyError` for a code outside the set."""
        return self._positions[code]

    def name(self, code: int) -> str:
        """Readable name of a code. Raises `KeyError` for a code outside the set."""
        return self.categories[self._positions[code]].name
