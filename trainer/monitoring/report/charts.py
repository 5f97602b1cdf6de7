"""The report's charts, in the way of `trainer.pages.svg`.

Each kind of figure has a shape of its own as well as a colour, so that a print in grey can be read.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from xml.etree import ElementTree  # nosec B405  # only writes

from trainer.pages.svg import (
    ACCENT,
    COLOURS,
    GRID,
    WIDTH,
    Chart,
    Element,
    box,
    canvas,
    chart,
    group,
    printable,
    text,
)

Json = dict[str, Any]

ORANGE, GREEN, GREY = COLOURS[1], COLOURS[2], COLOURS[5]
#: What the figures are called, and their colours.
KINDS = {
    "estimated": ("estimated without labels", ACCENT),
    "labelled": ("reviewed by people", ORANGE),
    "test": ("held-out test set", "currentColor"),
    "before": ("estimated last month", GREY),
}
LEFT, RIGHT, TOP = 46, 12, 30
HEIGHT = 200
LABEL_WIDTH, VALUE_WIDTH, LINE = 262, 58, 24
LABEL_CHARACTERS = 36
#: Days between two dates under a chart.
DATE_EVERY = 5
DRIFT_HEIGHT = 64


def daily_quality(days: Sequence[Json], all_days: Sequence[str], marks: Mapping[str, str]) -> Chart:
    """F1 by day: the estimate with its interval, labels where there are enough.

    Args:
        days: As `trainer.monitoring.report.quality.days` has them.
        all_days: Of the month, in order.
        marks: Short words by the day that they belong to, such as `release 2`.
    """
    svg = canvas(TOP + HEIGHT + 24, "F1 of the answers by day, estimated and by labels")
    lowest = min(
        [one["low"] for day in days for one in _kinds(day) if one["low"] is not None], default=0.5
    )
    floor = min(0.9, int(max(0.0, lowest - 0.02) * 10) / 10)

    def at(value: float) -> float:
        return TOP + HEIGHT * (1 - (max(value, floor) - floor) / (1 - floor))

    steps = range(round(floor * 10), 11, 1 if floor >= 0.5 else 2)
    _scale(svg, [(step / 10, f"{step / 10:.1f}") for step in steps], at)
    _dates(svg, all_days, TOP + HEIGHT + 18)
    _legend(svg, ["estimated", "labelled"])
    places = {day: _place(number, len(all_days)) for number, day in enumerate(all_days)}
    for date, words in marks.items():
        if date in places:
            _line(svg, (places[date], TOP), (places[date], TOP + HEIGHT), GREY, dashes="3 3")
            text(svg, places[date] + 4, words, y=TOP + HEIGHT - 6)
    estimated = [(places[day["day"]], day["estimated"]) for day in days if day.get("estimated")]
    _band(svg, [(x, at(one["low"]), at(one["high"])) for x, one in estimated])
    _path(svg, [(x, at(one["f1"])) for x, one in estimated], ACCENT)
    for day in days:
        shown = group(svg, _told_day(day))
        for kind in ("estimated", "labelled"):
            if one := day.get(kind):
                x = places[day["day"]]
                if kind == "labelled":
                    _line(shown, (x, at(one["low"])), (x, at(one["high"])), ORANGE)
                _mark(shown, kind, x, at(one["f1"]))
    return chart(svg)


def dots(rows: Sequence[tuple[str, Mapping[str, Json | None]]], kinds: Sequence[str]) -> Chart:
    """F1 with its interval, a line for each label and a mark for each kind.

    Args:
        rows: Labels, and figures with `f1 low high` by kind.
        kinds: Those that are shown, of `KINDS`.
    """
    svg = canvas(TOP + LINE * len(rows) + 26, f"F1 of {len(rows)} lines with intervals")
    values = [
        end for _, marks in rows for one in marks.values() if one for end in (one["low"], one["f1"])
    ]
    floor = int(max(0.0, min([one for one in values if one is not None], default=0) - 0.01) * 5) / 5
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH

    def at(value: float) -> float:
        return LABEL_WIDTH + room * (value - floor) / (1 - floor)

    bottom = TOP + LINE * len(rows)
    for step in range(round(floor * 5), 6):
        _line(svg, (at(step / 5), TOP), (at(step / 5), bottom), GRID)
        text(svg, at(step / 5), f"{step / 5:.1f}", y=bottom + 18, anchor="middle")
    _legend(svg, kinds)
    for number, (label, marks) in enumerate(rows):
        y = TOP + LINE * (number + 0.5)
        shown = group(svg, f"{label}: {_told(marks, kinds)}")
        _label(shown, label, y)
        # The present figures are drawn over the others.
        for kind in reversed(kinds):
            if one := marks.get(kind):
                offset = 4 if kind == "labelled" else -3 if kind == "estimated" else 0
                if kind in ("estimated", "labelled") and one["low"] is not None:
                    ends = (at(max(one["low"], floor)), y + offset), (at(one["high"]), y + offset)
                    _line(shown, *ends, KINDS[kind][1])
                _mark(shown, kind, at(max(one["f1"], floor)), y + offset)
        first = next((marks[kind] for kind in kinds if marks.get(kind)), None)
        if first:
            text(shown, WIDTH - VALUE_WIDTH + 14, f"{first['f1']:.3f}", y=y + 5)
    return chart(svg)


def daily_volume(days: Sequence[Json]) -> Chart:
    """Products answered by day, single ones below those of catalogs."""
    svg = canvas(TOP + HEIGHT + 24, "products by day, single ones and catalogs")
    totals = [day.get("interactive", 0) + day.get("catalog", 0) for day in days]
    largest = _round_up(max([*totals, 1]))

    def at(value: float) -> float:
        return TOP + HEIGHT * (1 - value / largest)

    _scale(svg, [(largest * part / 4, f"{largest * part // 4:,}") for part in range(5)], at)
    _dates(svg, [str(day["day"]) for day in days], TOP + HEIGHT + 18)
    _words(svg, [("single products", ACCENT), ("rows of catalogs", ORANGE)])
    step = (WIDTH - LEFT - RIGHT) / max(len(days), 1)
    for number, day in enumerate(days):
        single, catalog = day.get("interactive", 0), day.get("catalog", 0)
        shown = group(svg, f"{day['day']}: {single:,} single products, {catalog:,} of catalogs")
        x, width = LEFT + step * number + 1.5, step - 3
        box(shown, x, at(single), width, at(0) - at(single), ACCENT)
        box(shown, x, at(single + catalog), width, at(single) - at(single + catalog), ORANGE)
    return chart(svg)


def coverage(lines: Sequence[Json]) -> Chart:
    """How many answers are at or above a confidence, and how many of those are right."""
    svg = canvas(TOP + HEIGHT + 40, "share of the answers and precision by least confidence")

    def at(value: float) -> float:
        return TOP + HEIGHT * (1 - value)

    def across(threshold: float) -> float:
        return LEFT + 14 + (WIDTH - LEFT - RIGHT - 28) * threshold

    _scale(svg, [(part / 4, f"{part * 25}%") for part in range(5)], at)
    for tenth in range(0, 11, 2):
        _line(svg, (across(tenth / 10), TOP), (across(tenth / 10), TOP + HEIGHT), GRID)
        text(svg, across(tenth / 10), f"{tenth / 10:.1f}", y=TOP + HEIGHT + 18, anchor="middle")
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    text(svg, middle, "confidence at least", y=TOP + HEIGHT + 36, anchor="middle")
    named = [("share of answers", ACCENT), ("right, estimated", GREEN), ("right, reviewed", ORANGE)]
    _words(svg, named)
    _path(svg, [(across(one["threshold"]), at(one["share"])) for one in lines], ACCENT)
    expected = [one for one in lines if one["estimated"] is not None]
    right = [(across(one["threshold"]), at(one["estimated"])) for one in expected]
    _path(svg, right, GREEN, dashes="6 3")
    for one in lines:
        shown = group(svg, f"at least {one['threshold']:g}: {one['share']:.1%} of the answers")
        _mark(shown, "estimated", across(one["threshold"]), at(one["share"]))
        if found := one["labelled"]:
            x = across(one["threshold"])
            _line(shown, (x, at(found["low"])), (x, at(found["high"])), ORANGE)
            _mark(shown, "labelled", x, at(found["precision"]))
    return chart(svg)


def drift(kinds: Sequence[Json], begins_at: str, ends_at: str) -> Chart:
    """Each window's effect by kind; the line is what counts as moved."""
    svg = canvas(TOP + (DRIFT_HEIGHT + 22) * len(kinds) + 20, "effect of each window by kind")
    _words(svg, [("window", ACCENT), ("moved", ORANGE)])
    first, last = (datetime.fromisoformat(one).timestamp() for one in (begins_at, ends_at))
    for number, kind in enumerate(kinds):
        top = TOP + (DRIFT_HEIGHT + 22) * number
        bottom = top + DRIFT_HEIGHT + 14
        text(svg, 0, kind["kind"], y=top + 14)
        points = kind["points"]
        largest = max([1e-9, *(max(one["effect"], 1.25 * one["threshold"]) for one in points)])
        _line(svg, (LEFT + 40, bottom), (WIDTH - RIGHT, bottom), GRID)
        for one in points:
            share = (datetime.fromisoformat(one["at"]).timestamp() - first) / (last - first)
            x = LEFT + 44 + (WIDTH - LEFT - RIGHT - 52) * share
            height = DRIFT_HEIGHT * one["effect"] / largest
            said = "moved" if one["moved"] else "did not move"
            told = f"{one['at'][:16]}: effect {one['effect']:.3f}, {said}"
            colour = ORANGE if one["moved"] else ACCENT
            box(group(svg, told), x - 2, bottom - height, 4, height, colour)
        if points:
            y = bottom - DRIFT_HEIGHT * points[-1]["threshold"] / largest
            _line(svg, (LEFT + 40, y), (WIDTH - RIGHT, y), "currentColor", dashes="4 3")
    return chart(svg)


def _kinds(day: Json) -> list[Json]:
    return [day[kind] for kind in ("estimated", "labelled") if day.get(kind)]


def _place(number: int, days: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / max(days, 1)


def _scale(svg: Element, steps: Sequence[tuple[float, str]], at: Any) -> None:
    for value, words in steps:
        _line(svg, (LEFT, at(value)), (WIDTH - RIGHT, at(value)), GRID)
        text(svg, LEFT - 6, words, y=at(value) + 4, anchor="end")


def _dates(svg: Element, days: Sequence[str], y: float) -> None:
    for number, day in enumerate(days):
        if number % DATE_EVERY == 0:
            text(svg, _place(number, len(days)), str(int(day[-2:])), y=y, anchor="middle")


def _legend(svg: Element, kinds: Sequence[str]) -> None:
    x = float(LEFT)
    for kind in kinds:
        words, _ = KINDS[kind]
        _mark(svg, kind, x + 5, 11)
        text(svg, x + 15, words)
        x += 34 + 6.6 * len(words)


def _words(svg: Element, named: Sequence[tuple[str, str]]) -> None:
    x = float(LEFT)
    for words, colour in named:
        box(svg, x, 5, 11, 11, colour)
        text(svg, x + 16, words)
        x += 36 + 6.6 * len(words)


def _label(parent: Element, label: str, y: float) -> None:
    short = label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…"
    text(parent, LABEL_WIDTH - 12, short, y=y + 5, anchor="end")


def _line(
    parent: Element,
    begin: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    dashes: str = "",
) -> None:
    places = zip(("x1", "y1", "x2", "y2"), (*begin, *end), strict=True)
    made = ElementTree.SubElement(
        parent, "line", {name: f"{value:.1f}" for name, value in places} | {"stroke": colour}
    )
    made.set("stroke-width", "1" if colour == GRID else "1.6")
    if dashes:
        made.set("stroke-dasharray", dashes)


def _path(
    parent: Element, points: Sequence[tuple[float, float]], colour: str, dashes: str = ""
) -> None:
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


def _band(parent: Element, points: Sequence[tuple[float, float, float]]) -> None:
    """Between the ends of intervals: x, low and high."""
    edge = [(x, high) for x, _, high in points] + [(x, low) for x, low, _ in reversed(points)]
    if edge:
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
        shape = {"points": drawn, "fill": ACCENT, "fill-opacity": "0.18"}
        ElementTree.SubElement(parent, "polygon", shape)


def _mark(parent: Element, kind: str, x: float, y: float) -> None:
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


def _told(marks: Mapping[str, Json | None], kinds: Sequence[str]) -> str:
    return ", ".join(
        f"{KINDS[kind][0]} {one['f1']:.3f}" for kind in kinds if (one := marks.get(kind))
    )


def _told_day(day: Json) -> str:
    return printable(f"{day['day']}: {_told(day, ['estimated', 'labelled'])}")


def _round_up(number: int) -> int:
    """A round number that is no smaller, and can be divided by four."""
    size: int = 10 ** max(len(str(number)) - 1, 0)
    found = next(part * size for part in (1, 2, 4, 6, 8, 10) if part * size >= number)
    return max(found, 4)
