"""Building blocks of the page's sections."""

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from trainer.explore.figures import figure, heading
from trainer.pages.svg import Chart

#: Longer tables are truncated.
MAX_LINES = 1_000


@dataclass(frozen=True)
class Table:
    """A table of formatted cells; columns of numbers are right-aligned."""

    headings: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    are_numbers: tuple[bool, ...]
    left_out: int = 0

    @classmethod
    def of(cls, frame: pd.DataFrame, first: str) -> "Table":
        """Format a frame; `first` is the heading of its index."""
        names = [str(column) for column in frame.columns]
        lines = tuple(
            (str(label), *(figure(value, name) for value, name in zip(line, names, strict=True)))
            for label, line in zip(frame.index, frame.itertuples(index=False), strict=True)
        )
        return cls(
            headings=(first, *(heading(name) for name in names)),
            lines=lines[:MAX_LINES],
            are_numbers=(False, *(pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes)),
            left_out=max(0, len(lines) - MAX_LINES),
        )


@dataclass(frozen=True)
class Figure:
    """A chart with its numbers in a collapsed table, or a table alone."""

    caption: str
    table: Table
    chart: Chart | None = None


@dataclass(frozen=True)
class Sheet:
    """Thumbnails of one category, as `data:` URIs."""

    label: str
    images: tuple[str, ...]

    def _repr_html_(self) -> str:
        """Render the sheet in a notebook."""
        tags = [Markup('<img src="{}" alt="" height="90">').format(uri) for uri in self.images]
        return Markup("<h4>{}</h4>{}").format(self.label, Markup(" ").join(tags))


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    id: str
    title: str
    lead: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    sheets: tuple[Sheet, ...] = ()
