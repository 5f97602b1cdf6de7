"""Category set: the codes that a release can predict, their names and their order."""

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
    def _codes_are_unique(cls, categories: tuple[Category, ...]) -> tuple[Category, ...]:
        codes = [category.code for category in categories]
        repeated = sorted({code for code in codes if codes.count(code) > 1})
        if len(codes) < 2 or repeated:
            raise ValueError(
                f"expected two or more categories, each code once. "
                f"Received: {len(codes)} categories, repeated codes {repeated}"
            )
        return categories

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, str]]) -> "CategorySet":
        """Build a set from `(code, name)` pairs."""
        return cls(categories=tuple(Category(code=code, name=name) for code, name in pairs))

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """Codes in the order of the set."""
        return tuple(category.code for category in self.categories)

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {code: position for position, code in enumerate(self.codes)}

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
