"""What a section of the page is made of."""

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from trainer.explore.figures import figure, heading
from trainer.pages.svg import Chart

#: A table with more lines is cut.
MOST_LINES = 1_000


@dataclass(frozen=True)
class Table:
    """A table for a person: every cell a string, numbers to the right."""

    headings: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    are_numbers: tuple[bool, ...]
    left_out: int = 0

    @classmethod
    def of(cls, frame: pd.DataFrame, first: str) -> "Table":
        """Write a frame; `first` is the heading of its index."""
        names = [str(column) for column in frame.columns]
        lines = tuple(
            (str(label), *(figure(one, name) for one, name in zip(line, names, strict=True)))
            for label, line in zip(frame.index, frame.itertuples(index=False), strict=True)
        )
        return cls(
            headings=(first, *(heading(name) for name in names)),
            lines=lines[:MOST_LINES],
            are_numbers=(False, *(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes)),
            left_out=max(0, len(lines) - MOST_LINES),
        )


@dataclass(frozen=True)
class Figure:
    """A chart, and its numbers as a table that is folded away; or a table that is not."""

    caption: str
    table: Table
    chart: Chart | None = None


@dataclass(frozen=True)
class Sheet:
    """Small images of one category, as addresses that hold the image."""

    label: str
    images: tuple[str, ...]

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        tags = [Markup('<img src="{}" alt="" height="90">').format(one) for one in self.images]
        return Markup("<h4>{}</h4>{}").format(self.label, Markup(" ").join(tags))


@dataclass(frozen=True)
class Section:
    """One heading of the page."""

    id: str
    title: str
    lead: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    sheets: tuple[Sheet, ...] = ()
