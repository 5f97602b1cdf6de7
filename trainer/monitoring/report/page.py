"""A report as one HTML page that needs no network, no script and no other file."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2

from trainer.monitoring.report import charts, verdict
from trainer.pages.svg import Chart

Json = dict[str, Any]

MODALITY_NAMES = {"fusion": "Answers", "text": "Text alone", "image": "Image alone"}
#: Where it is known from what is taken for what.
SOURCES = {
    "labels": "answers that people labelled",
    "test": "the champion's answers to the held-out test rows",
    "estimated": "the answers' own probabilities: what they let expect, not what was seen",
}


def render(document: Json) -> str:
    """Write the page; whatever products and people say is text, never markup."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template("page.html").render(
        report=document,
        title=month_name(document["month"]),
        charts=_charts(document),
        modality_names=MODALITY_NAMES,
        sources=SOURCES,
        facts=_facts(document),
        classes=_worst_first(document),
        rules=verdict,
    )


def month_name(month: str) -> str:
    """`2026-11` for a person."""
    return f"{datetime.strptime(month, '%Y-%m'):%B %Y}"


def f1(value: float | None) -> str:
    """Three digits: the third is already chance on a few thousand rows."""
    return "–" if value is None else f"{value:.3f}"


def interval(figure: Mapping[str, Any] | None) -> str:
    """The ends of an interval."""
    if figure is None or figure.get("low") is None:
        return ""
    return f"{figure['low']:.3f} to {figure['high']:.3f}"


def share(value: float | None) -> str:
    """Percent; small ones with two digits."""
    if value is None:
        return "–"
    return f"{value:.1%}" if value >= 0.1 else f"{value:.2%}"


def number(value: float | None) -> str:
    """With thousands apart."""
    return "–" if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """A duration, as precise as anybody cares."""
    if value is None:
        return "–"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 60 else f"{value / 60:.1f} min"


def moment(value: str | None) -> str:
    """Such as `3 Nov 14:05`, in UTC."""
    return "–" if value is None else f"{datetime.fromisoformat(value):%-d %b %H:%M}"


def date(value: str | None) -> str:
    """Such as `3 Nov 2026`."""
    return "–" if value is None else f"{datetime.fromisoformat(value):%-d %b %Y}"


def change(now: float | None, before: float | None) -> str:
    """With its sign; nothing where there was nothing."""
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
    found = document["quality"]
    volume = document["volume"]["by_day"]
    days = [day["day"] for day in volume]
    return {
        "days": charts.daily_quality(found["days"], days, _marks(document))
        if found["days"]
        else None,
        "modalities": _modalities(found["modalities"]),
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
            MODALITY_NAMES[one["modality"]],
            {
                "estimated": one["estimated"],
                "labelled": one["labelled"],
                "test": one["test"],
                "before": one["before"]["estimated"],
            },
        )
        for one in modalities
    ]
    shown = [(label, marks) for label, marks in rows if any(marks.values())]
    return charts.dots(shown, ["estimated", "labelled", "test", "before"]) if shown else None


def _classes(document: Json) -> Chart | None:
    rows = [
        (
            f"{one['name']}",
            {
                "estimated": one["now"]["estimated"],
                "labelled": one["now"]["labelled"] if _is_enough(one) else None,
                "before": one["before"]["estimated"],
            },
        )
        for one in _worst_first(document)
    ]
    shown = [(label, marks) for label, marks in rows if any(marks.values())]
    return charts.dots(shown, ["estimated", "labelled", "before"]) if shown else None


def _is_enough(one: Json) -> bool:
    labelled = one["now"]["labelled"]
    return labelled is not None and labelled["rows"] >= verdict.LEAST_CLASS_LABELS


def _worst_first(document: Json) -> list[Json]:
    """Categories by their estimate, the worst first; those without one last."""

    def key(one: Json) -> float:
        estimated = one["now"]["estimated"]
        return estimated["f1"] if estimated else 2.0

    return sorted(document["quality"]["classes"], key=key)


def _marks(document: Json) -> dict[str, str]:
    marks = {one["raised_at"][:10]: "alert" for one in document["alerts"]}
    served = [one for one in document["releases"] if one["begins_at"]]
    return marks | {one["begins_at"][:10]: f"release {one['version']}" for one in served}


def _facts(document: Json) -> dict[str, str]:
    fusion = document["quality"]["modalities"][0]
    by_status = document["volume"]["by_status"]
    ended = by_status.get("done", 0) + by_status.get("failed", 0)
    facts = {"products answered": number(by_status.get("done", 0))}
    for kind, words in (("labelled", "F1, reviewed"), ("estimated", "F1, estimated")):
        if fusion[kind]:
            facts[words] = f1(fusion[kind]["f1"])
    if ended:
        facts["failed"] = share(by_status.get("failed", 0) / ended)
    for one in document["latency"]:
        if one["lane"] == "interactive":
            facts["95 of 100 within"] = seconds(one["p95"])
    facts["alerts raised"] = number(len(document["alerts"]))
    return facts
