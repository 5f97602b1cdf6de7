"""Draws tables as SVG that needs nothing else: no script, no font, no network.

Colours follow the page where it names them, and are readable on light and dark where it does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree  # nosec B405  # only writes

import pandas as pd

from trainer.explore.figures import figure

#: The page is as wide; a narrow screen shrinks the chart.
WIDTH = 760
LABEL_WIDTH, VALUE_WIDTH = 270, 70
LINE, BAR = 22, 14
#: Longer names are cut; the whole one is in the tooltip and in the table.
LABEL_CHARACTERS = 36
#: More bars than this help nobody.
MOST_BARS = 60
COLUMNS_HEIGHT = 180
#: Okabe and Ito's colours, told apart also by those who see few; greys for what is unknown.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#9a9a9a", "#c8c8c8")
_ACCENT = "var(--accent, #2f6fb0)"
_GRID = "var(--line, #8884)"


@dataclass(frozen=True)
class Chart:
    """An SVG drawing; pages and notebooks show it as it is."""

    svg: str

    def __html__(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return self.svg


def bars(values: pd.Series, *, name: str, marks: pd.Series | None = None) -> Chart:
    """Draw a bar for each value, with its label and figure.

    Args:
        values: From 0 on, by label.
        name: What is counted; `share` in it makes percentages.
        marks: Values to compare with, drawn as ticks, by the same labels.
    """
    values = values.head(MOST_BARS)
    marks = None if marks is None else marks.reindex(values.index)
    largest = max([*values.fillna(0.0), *([] if marks is None else marks.fillna(0.0)), 1e-9])
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    svg = _svg(LINE * len(values) + 4, f"{name}: {len(values)} bars")
    for place, (label, value) in enumerate(values.items()):
        value = 0.0 if pd.isna(value) else value
        line = _line(svg, place, str(label), figure(value, name))
        _rectangle(line, LABEL_WIDTH, room * value / largest, _ACCENT)
        end = LABEL_WIDTH + room * value / largest
        if marks is not None and pd.notna(marks.iloc[place]):
            tick = LABEL_WIDTH + room * marks.iloc[place] / largest
            _rectangle(line, tick - 1, 2, "currentColor", extra=6)
            end = max(end, tick)
        _text(line, end + 6, figure(value, name))
    return _chart(svg)


def stacked(shares: pd.DataFrame) -> Chart:
    """Draw a line for each row, divided into its shares, under a legend of the columns."""
    shares = shares.head(MOST_BARS)
    room = WIDTH - LABEL_WIDTH - 4
    colours = _colours([str(column) for column in shares.columns])
    svg = _svg(LINE * (len(shares) + 1) + 4, f"shares of {', '.join(colours)}")
    legend = ElementTree.SubElement(svg, "g")
    step = room / max(len(colours), 1)
    for place, (name, colour) in enumerate(colours.items()):
        _rectangle(legend, LABEL_WIDTH + step * place, 10, colour)
        _text(legend, LABEL_WIDTH + step * place + 14, name)
    for place, (label, line_shares) in enumerate(shares.iterrows(), start=1):
        told = ", ".join(f"{name} {figure(one, 'share')}" for name, one in line_shares.items())
        line, start = _line(svg, place, str(label), told), float(LABEL_WIDTH)
        for colour, one in zip(colours.values(), line_shares, strict=True):
            _rectangle(line, start, room * one, colour)
            start += room * one
    return _chart(svg)


def columns(histogram: pd.DataFrame, *, name: str) -> Chart:
    """Draw a histogram as `trainer.explore.measure.histogram` makes it."""
    svg = _svg(COLUMNS_HEIGHT + 24, f"{name}: {len(histogram)} columns")
    counts = [int(one) for one in histogram["products"]]
    step = WIDTH / max(len(counts), 1)
    for place, (low, high, count) in enumerate(
        zip(histogram["low"], histogram["high"], counts, strict=True)
    ):
        height = COLUMNS_HEIGHT * count / max(counts)
        group = ElementTree.SubElement(svg, "g")
        told = f"{low} to {high} {name}: {figure(count, 'products')} products"
        ElementTree.SubElement(group, "title").text = told
        _box(group, place * step + 1, COLUMNS_HEIGHT - height, step - 2, height, _ACCENT)
        if place % 6 == 0:
            _text(group, place * step + 2, str(low), y=COLUMNS_HEIGHT + 16)
    _box(svg, 0, COLUMNS_HEIGHT, WIDTH, 1, _GRID)
    return _chart(svg)


def _svg(height: int, told: str) -> ElementTree.Element:
    return ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height}",
            "width": "100%",
            "role": "img",
            "aria-label": told,
            "font-size": "13",
            "font-family": "system-ui, sans-serif",
            "style": f"max-width:{WIDTH}px",
        },
    )


def _line(svg: ElementTree.Element, place: int, label: str, told: str) -> ElementTree.Element:
    line = ElementTree.SubElement(svg, "g", {"transform": f"translate(0 {LINE * place})"})
    ElementTree.SubElement(line, "title").text = _printable(f"{label}: {told}")
    short = label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…"
    text = _text(line, LABEL_WIDTH - 8, short)
    text.set("text-anchor", "end")
    return line


def _text(
    parent: ElementTree.Element, x: float, text: str, *, y: float = 16
) -> ElementTree.Element:
    made = ElementTree.SubElement(
        parent, "text", {"x": f"{x:.1f}", "y": f"{y:.0f}", "fill": "currentColor"}
    )
    made.text = _printable(text)
    return made


def _rectangle(
    parent: ElementTree.Element, x: float, width: float, colour: str, *, extra: int = 0
) -> None:
    top = (LINE - BAR - extra) / 2 + 1
    _box(parent, x, top, width, BAR + extra, colour)


def _box(
    parent: ElementTree.Element, x: float, y: float, width: float, height: float, colour: str
) -> None:
    size = {"x": x, "y": y, "width": max(width, 0.0), "height": max(height, 0.0)}
    values = {name: f"{value:.1f}" for name, value in size.items()}
    ElementTree.SubElement(parent, "rect", {**values, "fill": colour})


def _colours(names: Sequence[str]) -> dict[str, str]:
    greys = {"unsure": COLOURS[-2], "no text": COLOURS[-1]}
    bright = iter(COLOURS[:-2] * len(names))
    return {name: greys.get(name) or next(bright) for name in names}


def _printable(text: str) -> str:
    """Leave out control characters, which XML cannot hold."""
    return "".join(one for one in text if one.isprintable() or one == " ")


def _chart(svg: ElementTree.Element) -> Chart:
    return Chart(ElementTree.tostring(svg, encoding="unicode"))
