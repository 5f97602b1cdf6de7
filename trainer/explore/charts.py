"""Draws tables as SVG charts with `trainer.pages.svg`."""

from collections.abc import Sequence
from xml.etree import ElementTree  # nosec B405  # only writes

import pandas as pd

from trainer.explore.figures import figure
from trainer.pages.svg import (
    ACCENT,
    COLOURS,
    GRID,
    WIDTH,
    Chart,
    box,
    canvas,
    chart,
    printable,
    text,
)

LABEL_WIDTH, VALUE_WIDTH = 270, 70
LINE, BAR = 22, 14
#: Longer labels are truncated; the tooltip and the table contain the full text.
LABEL_CHARACTERS = 36
#: Charts with more bars are unreadable.
MAX_BARS = 60
COLUMNS_HEIGHT = 180


def bars(values: pd.Series, *, name: str, marks: pd.Series | None = None) -> Chart:
    """Draw a bar for each value, with its label and figure.

    Args:
        values: Non-negative values by label.
        name: Name of the quantity; if it contains `share`, values are shown as percentages.
        marks: Reference values, drawn as ticks, by the same labels.
    """
    values = values.head(MAX_BARS)
    marks = None if marks is None else marks.reindex(values.index)
    largest = max([*values.fillna(0.0), *([] if marks is None else marks.fillna(0.0)), 1e-9])
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    svg = canvas(LINE * len(values) + 4, f"{name}: {len(values)} bars")
    for place, (label, value) in enumerate(values.items()):
        value = 0.0 if pd.isna(value) else value
        line = _line(svg, place, str(label), figure(value, name))
        _rectangle(line, LABEL_WIDTH, room * value / largest, ACCENT)
        end = LABEL_WIDTH + room * value / largest
        if marks is not None and pd.notna(marks.iloc[place]):
            tick = LABEL_WIDTH + room * marks.iloc[place] / largest
            _rectangle(line, tick - 1, 2, "currentColor", extra=6)
            end = max(end, tick)
        text(line, end + 6, figure(value, name))
    return chart(svg)


def stacked(shares: pd.DataFrame) -> Chart:
    """Draw a stacked bar for each row, under a legend of the columns."""
    shares = shares.head(MAX_BARS)
    room = WIDTH - LABEL_WIDTH - 4
    colours = _colours([str(column) for column in shares.columns])
    svg = canvas(LINE * (len(shares) + 1) + 4, f"shares of {', '.join(colours)}")
    legend = ElementTree.SubElement(svg, "g")
    step = room / max(len(colours), 1)
    for place, (name, colour) in enumerate(colours.items()):
        _rectangle(legend, LABEL_WIDTH + step * place, 10, colour)
        text(legend, LABEL_WIDTH + step * place + 14, name)
    for place, (label, line_shares) in enumerate(shares.iterrows(), start=1):
        tooltip = ", ".join(
            f"{name} {figure(share, 'share')}" for name, share in line_shares.items()
        )
        line, start = _line(svg, place, str(label), tooltip), float(LABEL_WIDTH)
        for colour, share in zip(colours.values(), line_shares, strict=True):
            _rectangle(line, start, room * share, colour)
            start += room * share
    return chart(svg)


def columns(histogram: pd.DataFrame, *, name: str) -> Chart:
    """Draw a histogram returned by `trainer.explore.measure.histogram`."""
    svg = canvas(COLUMNS_HEIGHT + 24, f"{name}: {len(histogram)} columns")
    counts = [int(count) for count in histogram["products"]]
    step = WIDTH / max(len(counts), 1)
    for place, (low, high, count) in enumerate(
        zip(histogram["low"], histogram["high"], counts, strict=True)
    ):
        height = COLUMNS_HEIGHT * count / max(counts)
        group = ElementTree.SubElement(svg, "g")
        tooltip = f"{low} to {high} {name}: {figure(count, 'products')} products"
        ElementTree.SubElement(group, "title").text = tooltip
        box(group, place * step + 1, COLUMNS_HEIGHT - height, step - 2, height, ACCENT)
        if place % 6 == 0:
            text(group, place * step + 2, str(low), y=COLUMNS_HEIGHT + 16)
    box(svg, 0, COLUMNS_HEIGHT, WIDTH, 1, GRID)
    return chart(svg)


def _line(svg: ElementTree.Element, place: int, label: str, tooltip: str) -> ElementTree.Element:
    line = ElementTree.SubElement(svg, "g", {"transform": f"translate(0 {LINE * place})"})
    ElementTree.SubElement(line, "title").text = printable(f"{label}: {tooltip}")
    short = label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…"
    text(line, LABEL_WIDTH - 8, short, anchor="end")
    return line


def _rectangle(
    parent: ElementTree.Element, x: float, width: float, colour: str, *, extra: int = 0
) -> None:
    top = (LINE - BAR - extra) / 2 + 1
    box(parent, x, top, width, BAR + extra, colour)


def _colours(names: Sequence[str]) -> dict[str, str]:
    greys = {"unsure": COLOURS[-2], "no text": COLOURS[-1]}
    bright = iter(COLOURS[:-2] * len(names))
    return {name: greys.get(name) or next(bright) for name in names}
