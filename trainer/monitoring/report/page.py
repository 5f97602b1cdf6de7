"""Renders a report as a self-contained HTML page without scripts or external files."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from trainer.monitoring.report import charts, verdict
from trainer.pages.svg import Chart

Json = dict[str, Any]

MODALITY_NAMES = {"fusion": "Answers", "text": "Text only", "image": "Image only"}
#: Descriptions of the sources of confusions.
SOURCES = {
    "labels": "answers labelled by people",
    "test": "the champion's answers on the held-out test set",
    "estimated": "the probabilities of the answers: expected confusions, not observed ones",
}


def render(document: Json) -> str:
    """Render the page; all text from products and people is escaped."""
    return _template().render(
        report=document,
        title=month_name(document["month"]),
        charts=_charts(document),
        modality_names=MODALITY_NAMES,
        sources=SOURCES,
        facts=_facts(document),
        classes=_worst_first(document),
        rules=verdict,
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template("page.html")


def month_name(month: str) -> str:
    """Format `2026-11` as `November 2026`."""
    return f"{datetime.strptime(month, '%Y-%m'):%B %Y}"


def f1(value: float | None) -> str:
    """Format with three decimals; on a few thousand rows the third is already noise."""
    return "–" if value is None else f"{value:.3f}"


def interval(figure: Mapping[str, Any] | None) -> str:
    """Format the bounds of an interval."""
    if figure is None or figure.get("low") is None:
        return ""
    return f"{figure['low']:.3f} to {figure['high']:.3f}"


def share(value: float | None) -> str:
    """Format as percent, below 10% with two decimals."""
    if value is None:
        return "–"
    return f"{value:.1%}" if value >= 0.1 else f"{value:.2%}"


def number(value: float | None) -> str:
    """Format with thousands separators."""
    return "–" if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Format a duration in ms, s or min."""
    if value is None:
        return "–"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 60 else f"{value / 60:.1f} min"


def moment(value: str | None) -> str:
    """Format as `3 Nov 14:05`, in UTC."""
    return "–" if value is None else f"{datetime.fromisoformat(value):%-d %b %H:%M}"


def date(value: str | None) -> str:
    """Format as `3 Nov 2026`."""
    return "–" if value is None else f"{datetime.fromisoformat(value):%-d %b %Y}"


def change(now: float | None, before: float | None) -> str:
    """Format a change with its sign; empty if either figure is missing."""
    return "" if now is None or before is None else f"{now - before:+.3f}".replace("-", "−")


FILTERS: dict[str, Callable[..., str]] = {
    "f1": f1,
    "interval": interval,
    "share": share,
    "number": number,
    "seconds": seconds,
    "moment": moment,
    "date": date,
    "change": change,
}


def _charts(document: Json) -> dict[str, Chart | None]:
    figures = document["quality"]
    volume = document["volume"]["by_day"]
    days = [day["day"] for day in volume]
    return {
        "days": charts.daily_quality(figures["days"], days, _marks(document))
        if figures["days"]
        else None,
        "modalities": _modalities(figures["modalities"]),
        "classes": _classes(document),
        "coverage": charts.coverage(document["coverage"])
        if document["coverage"][0]["answers"]
        else None,
        "volume": charts.daily_volume(volume) if document["volume"]["jobs"] else None,
        "drift": charts.drift(
            document["drift"]["kinds"], document["begins_at"], document["ends_at"]
        )
        if document["drift"]["windows"]
        else None,
    }


def _modalities(modalities: list[Json]) -> Chart | None:
    rows = [
        (
            MODALITY_NAMES[figures["modality"]],
            {
                "estimated": figures["estimated"],
                "labelled": figures["labelled"],
                "test": figures["test"],
                "before": figures["before"]["estimated"],
            },
        )
        for figures in modalities
    ]
    shown = [(label, marks) for label, marks in rows if any(marks.values())]
    return charts.dots(shown, ["estimated", "labelled", "test", "before"]) if shown else None


def _classes(document: Json) -> Chart | None:
    rows = [
        (
            f"{category['name']}",
            {
                "estimated": category["now"]["estimated"],
                "labelled": category["now"]["labelled"] if _has_enough_labels(category) else None,
                "before": category["before"]["estimated"],
            },
        )
        for category in _worst_first(document)
    ]
    shown = [(label, marks) for label, marks in rows if any(marks.values())]
    return charts.dots(shown, ["estimated", "labelled", "before"]) if shown else None


def _has_enough_labels(category: Json) -> bool:
    labelled = category["now"]["labelled"]
    return labelled is not None and labelled["rows"] >= verdict.LEAST_CLASS_LABELS


def _worst_first(document: Json) -> list[Json]:
    """Return the categories by estimated F1, worst first; those without an estimate last."""

    def key(category: Json) -> float:
        estimated = category["now"]["estimated"]
        return estimated["f1"] if estimated else 2.0

    return sorted(document["quality"]["classes"], key=key)


def _marks(document: Json) -> dict[str, str]:
    alerts = {alert["raised_at"][:10]: "alert" for alert in document["alerts"]}
    served = [release for release in document["releases"] if release["begins_at"]]
    releases = {release["begins_at"][:10]: f"release {release['version']}" for release in served}
    return alerts | releases


def _facts(document: Json) -> dict[str, str]:
    fusion = document["quality"]["modalities"][0]
    by_status = document["volume"]["by_status"]
    ended = by_status.get("done", 0) + by_status.get("failed", 0)
    facts = {"products answered": number(by_status.get("done", 0))}
    for kind, title in (("labelled", "F1, reviewed"), ("estimated", "F1, estimated")):
        if fusion[kind]:
            facts[title] = f1(fusion[kind]["f1"])
    if ended:
        facts["failed"] = share(by_status.get("failed", 0) / ended)
    for line in document["latency"]:
        if line["lane"] == "interactive":
            facts["95th percentile latency"] = seconds(line["p95"])
    facts["alerts raised"] = number(len(document["alerts"]))
    return facts
