"""Charts of the monthly report, as SVG."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from trainer.monitoring.report import drawing
from trainer.monitoring.report.drawing import GREEN, GREY, KINDS, LABEL_WIDTH, LEFT, ORANGE, RIGHT
from trainer.pages.svg import ACCENT, GRID, WIDTH, Chart, box, canvas, chart, group, printable, text

Json = dict[str, Any]

TOP, HEIGHT = 30, 200
VALUE_WIDTH, LINE = 58, 24
DRIFT_HEIGHT = 64


def daily_quality(days: Sequence[Json], all_days: Sequence[str], notes: Mapping[str, str]) -> Chart:
    """Plot F1 by day: estimates with intervals, and labels where there are enough.

    Args:
        days: Result of `trainer.monitoring.report.quality.days`.
        all_days: All days of the month, in order.
        notes: Short texts by day, such as `release 2`.
    """
    svg = canvas(TOP + HEIGHT + 24, "F1 of the answers by day, estimated and from labels")
    lowest = min(
        [figure["low"] for day in days for figure in _figures(day) if figure["low"] is not None],
        default=0.5,
    )
    floor = min(0.9, int(max(0.0, lowest - 0.02) * 10) / 10)

    def at(value: float) -> float:
        return TOP + HEIGHT * (1 - (max(value, floor) - floor) / (1 - floor))

    steps = range(round(floor * 10), 11, 1 if floor >= 0.5 else 2)
    drawing.scale(svg, [(step / 10, f"{step / 10:.1f}") for step in steps], at)
    drawing.dates(svg, all_days, TOP + HEIGHT + 18)
    drawing.legend(svg, ["estimated", "labelled"])
    places = {day: drawing.day_x(number, len(all_days)) for number, day in enumerate(all_days)}
    for date, note in notes.items():
        if date in places:
            drawing.line(svg, (places[date], TOP), (places[date], TOP + HEIGHT), GREY, dashes="3 3")
            text(svg, places[date] + 4, note, y=TOP + HEIGHT - 6)
    estimated = [(places[day["day"]], day["estimated"]) for day in days if day.get("estimated")]
    drawing.band(svg, [(x, at(figure["low"]), at(figure["high"])) for x, figure in estimated])
    drawing.path(svg, [(x, at(figure["f1"])) for x, figure in estimated], ACCENT)
    for day in days:
        tip = group(svg, _day_tooltip(day))
        for kind in ("estimated", "labelled"):
            if figure := day.get(kind):
                x = places[day["day"]]
                if kind == "labelled":
                    drawing.line(tip, (x, at(figure["low"])), (x, at(figure["high"])), ORANGE)
                drawing.mark(tip, kind, x, at(figure["f1"]))
    return chart(svg)


def dots(rows: Sequence[tuple[str, Mapping[str, Json | None]]], kinds: Sequence[str]) -> Chart:
    """Plot F1 with intervals: a row for each label, and a mark for each kind.

    Args:
        rows: Label of each row, and its figures with `f1 low high` by kind.
        kinds: Kinds to show, from `KINDS`.
    """
    svg = canvas(TOP + LINE * len(rows) + 26, f"F1 of {len(rows)} rows with intervals")
    values = [
        end
        for _, figures in rows
        for figure in figures.values()
        if figure
        for end in (figure["low"], figure["f1"])
    ]
    floor = (
        int(max(0.0, min([value for value in values if value is not None], default=0) - 0.01) * 5)
        / 5
    )
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH

    def at(value: float) -> float:
        return LABEL_WIDTH + room * (value - floor) / (1 - floor)

    bottom = TOP + LINE * len(rows)
    for step in range(round(floor * 5), 6):
        drawing.line(svg, (at(step / 5), TOP), (at(step / 5), bottom), GRID)
        text(svg, at(step / 5), f"{step / 5:.1f}", y=bottom + 18, anchor="middle")
    drawing.legend(svg, kinds)
    for number, (label, figures) in enumerate(rows):
        y = TOP + LINE * (number + 0.5)
        tip = group(svg, f"{label}: {_tooltip(figures, kinds)}")
        drawing.label(tip, label, y)
        # Reversed, so that current figures are drawn on top of older ones.
        for kind in reversed(kinds):
            if figure := figures.get(kind):
                offset = 4 if kind == "labelled" else -3 if kind == "estimated" else 0
                if kind in ("estimated", "labelled") and figure["low"] is not None:
                    low, high = at(max(figure["low"], floor)), at(figure["high"])
                    drawing.line(tip, (low, y + offset), (high, y + offset), KINDS[kind][1])
                drawing.mark(tip, kind, at(max(figure["f1"], floor)), y + offset)
        first = next((figures[kind] for kind in kinds if figures.get(kind)), None)
        if first:
            text(tip, WIDTH - VALUE_WIDTH + 14, f"{first['f1']:.3f}", y=y + 5)
    return chart(svg)


def daily_volume(days: Sequence[Json]) -> Chart:
    """Plot the products answered by day: single products below catalog rows."""
    svg = canvas(TOP + HEIGHT + 24, "products by day, single products and catalog rows")
    totals = [day.get("interactive", 0) + day.get("catalog", 0) for day in days]
    largest = _round_up(max([*totals, 1]))

    def at(value: float) -> float:
        return TOP + HEIGHT * (1 - value / largest)

    drawing.scale(svg, [(largest * part / 4, f"{largest * part // 4:,}") for part in range(5)], at)
    drawing.dates(svg, [str(day["day"]) for day in days], TOP + HEIGHT + 18)
    drawing.colour_legend(svg, [("single products", ACCENT), ("catalog rows", ORANGE)])
    step = (WIDTH - LEFT - RIGHT) / max(len(days), 1)
    for number, day in enumerate(days):
        single, catalog = day.get("interactive", 0), day.get("catalog", 0)
        tip = group(svg, f"{day['day']}: {single:,} single products, {catalog:,} catalog rows")
        x, width = LEFT + step * number + 1.5, step - 3
        box(tip, x, at(single), width, at(0) - at(single), ACCENT)
        box(tip, x, at(single + catalog), width, at(single) - at(single + catalog), ORANGE)
    return chart(svg)


def coverage(lines: Sequence[Json]) -> Chart:
    """Plot share and precision of the answers at or above each confidence threshold."""
    svg = canvas(TOP + HEIGHT + 40, "share of the answers and precision by minimum confidence")

    def at(value: float) -> float:
        return TOP + HEIGHT * (1 - value)

    def across(threshold: float) -> float:
        return LEFT + 14 + (WIDTH - LEFT - RIGHT - 28) * threshold

    drawing.scale(svg, [(part / 4, f"{part * 25}%") for part in range(5)], at)
    for tenth in range(0, 11, 2):
        drawing.line(svg, (across(tenth / 10), TOP), (across(tenth / 10), TOP + HEIGHT), GRID)
        text(svg, across(tenth / 10), f"{tenth / 10:.1f}", y=TOP + HEIGHT + 18, anchor="middle")
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    text(svg, middle, "minimum confidence", y=TOP + HEIGHT + 36, anchor="middle")
    legend = [
        ("share of answers", ACCENT),
        ("precision, estimated", GREEN),
        ("precision, reviewed", ORANGE),
    ]
    drawing.colour_legend(svg, legend)
    drawing.path(svg, [(across(line["threshold"]), at(line["share"])) for line in lines], ACCENT)
    expected = [line for line in lines if line["estimated"] is not None]
    precision = [(across(line["threshold"]), at(line["estimated"])) for line in expected]
    drawing.path(svg, precision, GREEN, dashes="6 3")
    for line in lines:
        x = across(line["threshold"])
        tip = group(svg, f"at least {line['threshold']:g}: {line['share']:.1%} of the answers")
        drawing.mark(tip, "estimated", x, at(line["share"]))
        if labelled := line["labelled"]:
            drawing.line(tip, (x, at(labelled["low"])), (x, at(labelled["high"])), ORANGE)
            drawing.mark(tip, "labelled", x, at(labelled["precision"]))
    return chart(svg)


def drift(kinds: Sequence[Json], begins_at: str, ends_at: str) -> Chart:
    """Plot the effect of each window by kind, with the threshold as a dashed line."""
    svg = canvas(TOP + (DRIFT_HEIGHT + 22) * len(kinds) + 20, "effect of each window by kind")
    drawing.colour_legend(svg, [("window", ACCENT), ("moved", ORANGE)])
    first, last = (datetime.fromisoformat(end).timestamp() for end in (begins_at, ends_at))
    for number, kind in enumerate(kinds):
        top = TOP + (DRIFT_HEIGHT + 22) * number
        bottom = top + DRIFT_HEIGHT + 14
        text(svg, 0, kind["kind"], y=top + 14)
        points = kind["points"]
        largest = max(
            [1e-9, *(max(point["effect"], 1.25 * point["threshold"]) for point in points)]
        )
        drawing.line(svg, (LEFT + 40, bottom), (WIDTH - RIGHT, bottom), GRID)
        for point in points:
            share = (datetime.fromisoformat(point["at"]).timestamp() - first) / (last - first)
            x = LEFT + 44 + (WIDTH - LEFT - RIGHT - 52) * share
            height = DRIFT_HEIGHT * point["effect"] / largest
            state = "moved" if point["moved"] else "did not move"
            tip = f"{point['at'][:16]}: effect {point['effect']:.3f}, {state}"
            colour = ORANGE if point["moved"] else ACCENT
            box(group(svg, tip), x - 2, bottom - height, 4, height, colour)
        if points:
            y = bottom - DRIFT_HEIGHT * points[-1]["threshold"] / largest
            drawing.line(svg, (LEFT + 40, y), (WIDTH - RIGHT, y), "currentColor", dashes="4 3")
    return chart(svg)


def _figures(day: Json) -> list[Json]:
    return [day[kind] for kind in ("estimated", "labelled") if day.get(kind)]


def _tooltip(figures: Mapping[str, Json | None], kinds: Sequence[str]) -> str:
    return ", ".join(
        f"{KINDS[kind][0]} {figure['f1']:.3f}" for kind in kinds if (figure := figures.get(kind))
    )


def _day_tooltip(day: Json) -> str:
    return printable(f"{day['day']}: {_tooltip(day, ['estimated', 'labelled'])}")


def _round_up(number: int) -> int:
    """Round up to a round number that is divisible by four."""
    size: int = 10 ** max(len(str(number)) - 1, 0)
    rounded = next(part * size for part in (1, 2, 4, 6, 8, 10) if part * size >= number)
    return max(rounded, 4)
