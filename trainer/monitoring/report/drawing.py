"""Axes, legends, lines and marks of the report's charts.

Each kind of figure has its own shape as well as its own colour, so that a greyscale print is
readable.
"""

from collections.abc import Callable, Sequence
from xml.etree import ElementTree  # nosec B405  # only writes

from trainer.pages.svg import ACCENT, COLOURS, GRID, WIDTH, Element, box, text

ORANGE, GREEN, GREY = COLOURS[1], COLOURS[2], COLOURS[5]
#: Label and colour of each kind of figure.
KINDS = {
    "estimated": ("estimated without labels", ACCENT),
    "labelled": ("reviewed by people", ORANGE),
    "test": ("held-out test set", "currentColor"),
    "before": ("estimated last month", GREY),
}
LEFT, RIGHT = 46, 12
LABEL_WIDTH = 262
LABEL_CHARACTERS = 36
#: Days between two dates below a chart.
DATE_INTERVAL = 5


def day_x(number: int, days: int) -> float:
    """Return the x position of a day."""
    return LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / max(days, 1)


def scale(svg: Element, steps: Sequence[tuple[float, str]], y_of: Callable[[float], float]) -> None:
    """Draw the y axis: a grid line and a label for each step."""
    for value, label_text in steps:
        line(svg, (LEFT, y_of(value)), (WIDTH - RIGHT, y_of(value)), GRID)
        text(svg, LEFT - 6, label_text, y=y_of(value) + 4, anchor="end")


def dates(svg: Element, days: Sequence[str], y: float) -> None:
    """Draw the x axis: days of the month."""
    for number, day in enumerate(days):
        if number % DATE_INTERVAL == 0:
            text(svg, day_x(number, len(days)), str(int(day[-2:])), y=y, anchor="middle")


def legend(svg: Element, kinds: Sequence[str]) -> None:
    """Draw a legend of the kinds of figures, with their marks."""
    x = float(LEFT)
    for kind in kinds:
        name, _ = KINDS[kind]
        mark(svg, kind, x + 5, 11)
        text(svg, x + 15, name)
        x += 34 + 6.6 * len(name)


def colour_legend(svg: Element, entries: Sequence[tuple[str, str]]) -> None:
    """Draw a legend of names and colours."""
    x = float(LEFT)
    for name, colour in entries:
        box(svg, x, 5, 11, 11, colour)
        text(svg, x + 16, name)
        x += 36 + 6.6 * len(name)


def label(parent: Element, name: str, y: float) -> None:
    """Write the label of a row, shortened to fit."""
    short = name if len(name) <= LABEL_CHARACTERS else f"{name[: LABEL_CHARACTERS - 1]}…"
    text(parent, LABEL_WIDTH - 12, short, y=y + 5, anchor="end")


def line(
    parent: Element,
    begin: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    dashes: str = "",
) -> None:
    """Draw a line."""
    places = zip(("x1", "y1", "x2", "y2"), (*begin, *end), strict=True)
    made = ElementTree.SubElement(
        parent, "line", {name: f"{value:.1f}" for name, value in places} | {"stroke": colour}
    )
    made.set("stroke-width", "1" if colour == GRID else "1.6")
    if dashes:
        made.set("stroke-dasharray", dashes)


def path(
    parent: Element, points: Sequence[tuple[float, float]], colour: str, dashes: str = ""
) -> None:
    """Draw a line through points."""
    if not points:
        return
    made = ElementTree.SubElement(
        parent,
        "polyline",
        {
            "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
            "fill": "none",
            "stroke": colour,
            "stroke-width": "2",
        },
    )
    if dashes:
        made.set("stroke-dasharray", dashes)


def band(parent: Element, points: Sequence[tuple[float, float, float]]) -> None:
    """Fill the area between the bounds of intervals, each `(x, low, high)`."""
    edge = [(x, high) for x, _, high in points] + [(x, low) for x, low, _ in reversed(points)]
    if edge:
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
        shape = {"points": drawn, "fill": ACCENT, "fill-opacity": "0.18"}
        ElementTree.SubElement(parent, "polygon", shape)


def mark(parent: Element, kind: str, x: float, y: float) -> None:
    """Draw the mark of a kind of figure."""
    _, colour = KINDS[kind]
    if kind == "labelled":
        points = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y:.1f} {x:.1f},{y + 5:.1f} {x - 5:.1f},{y:.1f}"
        ElementTree.SubElement(parent, "polygon", {"points": points, "fill": colour})
    elif kind == "test":
        box(parent, x - 1, y - 7, 2, 14, colour)
    else:
        place = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "3.6"}
        style = {"fill": colour}
        if kind == "before":
            style = {"fill": "none", "stroke": colour, "stroke-width": "1.6"}
        ElementTree.SubElement(parent, "circle", place | style)
