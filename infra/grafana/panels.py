"""Boards, rows and panels, and their JSON in Grafana's schema 39."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

#: The `uid` of the data source in `provisioning/datasources`.
SOURCE = {"type": "prometheus", "uid": "rayon"}
SCHEMA = 39
#: Columns of a board and the size of each kind of panel.
COLUMNS = 24
SIZES = {"stat": (4, 4), "timeseries": (8, 8), "bargauge": (8, 8)}

Kind = Literal["stat", "timeseries", "bargauge"]


@dataclass(frozen=True)
class Panel:
    """Panel of a board.

    Attributes:
        queries: By legend, which may name labels as `{{queue}}`.
        unit: As Grafana calls it: `s`, `percentunit`, `short`, `reqps`, `bytes`, `dateTimeFromNow`.
        alarm: From this value on a figure is red.
    """

    title: str
    queries: Mapping[str, str]
    kind: Kind = "timeseries"
    unit: str = "short"
    alarm: float | None = None
    #: Explanation in addition to the title.
    description: str = ""


@dataclass(frozen=True)
class Board:
    """Page of panels, grouped by row title."""

    name: str
    title: str
    description: str
    rows: Mapping[str, Sequence[Panel]]
    #: Default time range.
    since: str = "now-6h"


def figure(title: str, query: str, unit: str = "short", alarm: float | None = None) -> Panel:
    """Return a panel that shows a single number."""
    return Panel(title, {"": query}, kind="stat", unit=unit, alarm=alarm)


def text_of(board: Board) -> str:
    """Return the JSON of a board."""
    return json.dumps(_document(board), indent=1, ensure_ascii=False) + "\n"


def _document(board: Board) -> dict[str, Any]:
    return {
        "uid": f"rayon-{board.name}",
        "title": board.title,
        "description": board.description,
        "tags": ["rayon"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "timezone": "utc",
        "time": {"from": board.since, "to": "now"},
        "templating": {"list": []},
        "annotations": {"list": [_promotions()]},
        "panels": _laid_out(board),
    }


def _promotions() -> dict[str, Any]:
    """Return the annotation that marks each change of the champion."""
    return {
        "name": "Promotions",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "purple",
        "expr": "rayon_promotion_timestamp_seconds > time() - 120",
        "titleFormat": "Release {{release}} serves",
    }


def _laid_out(board: Board) -> list[dict[str, Any]]:
    """Lay out panels from left to right, with each row title on its own line."""
    found: list[dict[str, Any]] = []
    top = 0
    for headline, panels in board.rows.items():
        found.append(_headline(headline, len(found) + 1, top))
        top, left, height = top + 1, 0, 0
        for panel in panels:
            width, tall = SIZES[panel.kind]
            if left + width > COLUMNS:
                top, left, height = top + height, 0, 0
            place = {"x": left, "y": top, "w": width, "h": tall}
            found.append(_panel(panel, len(found) + 1, place))
            left, height = left + width, max(height, tall)
        top += height
    return found


def _headline(text: str, number: int, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": text, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [
            _target(chr(ord("A") + position), legend, query, panel.kind)
            for position, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [
        {"color": "green" if panel.alarm is not None else "blue", "value": None}
    ]
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.kind == "stat":
        defaults["noValue"] = "–"
    if panel.kind == "timeseries":
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never"}
        defaults["min"] = 0
    return defaults


def _target(name: str, legend: str, query: str, kind: Kind) -> dict[str, Any]:
    return {
        "refId": name,
        "datasource": SOURCE,
        "expr": query,
        "legendFormat": legend or "__auto",
        "instant": kind != "timeseries",
        "range": kind == "timeseries",
    }


_OPTIONS: dict[Kind, dict[str, Any]] = {
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background",
        "graphMode": "none",
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "bargauge": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "horizontal",
        "displayMode": "basic",
    },
}
