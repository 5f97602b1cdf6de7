"""A month's report as one JSON document, gathered from the database."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from shared.contracts import Lane
from shared.errors import NotFound
from trainer.monitoring.performance.answers import FUSION, Registry
from trainer.monitoring.performance.measure import ESTIMATED, LABELLED, TEST
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.report import events, quality, traffic
from trainer.monitoring.report.verdict import Evidence, Measured, Verdict, judge

Json = dict[str, Any]

#: A release that serves for less time has too few answers to be judged by.
NEW_FOR = timedelta(days=14)
#: What a reader of the document can rely on.
FORMAT = 1


def gather(session: Session, registry: Registry, period: Period, moment: datetime) -> Json:
    """Everything that the page shows. Raises `Unavailable` as the registry does.

    Args:
        session: Reads.
        registry: Knows the names of the categories.
        period: A month.
        moment: When it is made.
    """
    volume = traffic.volume(session, period)
    served = events.releases(session, period, volume["by_release"])
    last = events.last_served(served)
    names = _names(registry, [*volume["by_release"], *([last] if last else [])])
    now = quality.figures(session, period, last)
    before = quality.figures(session, period.before(), last)
    counts = traffic.answered_codes(session, period)
    found: Json = {
        "format": FORMAT,
        "month": period.name,
        "begins_at": period.begins_at.isoformat(),
        "ends_at": period.ends_at.isoformat(),
        "made_at": moment.isoformat(),
        "is_over": moment >= period.ends_at,
        "quality": {
            "modalities": _modalities(now, before),
            "classes": quality.classes(now[FUSION], before[FUSION], counts, names),
            "days": quality.days(session, period),
        },
        "volume": volume,
        "volume_before": traffic.volume(session, period.before())["jobs"],
        "latency": traffic.latency(session, period),
        "errors": traffic.errors(session, period),
        "degraded": traffic.degraded(session, period),
        "drift": events.drift(session, period),
        "alerts": events.alerts(session, period),
        "coverage": _coverage(session, period),
        "confusions": quality.confusions(session, period, now, names),
        "releases": served,
        "trainings": events.trainings(session, period),
        "labels": events.labels(session, period),
        "names": {str(code): name for code, name in names.items()},
    }
    return found | {"verdict": _written(judge(evidence_of(found, period, moment)))}


def evidence_of(found: Json, period: Period, moment: datetime) -> Evidence:
    """What the rules of the verdict look at, at some moment."""
    fusion = next(one for one in found["quality"]["modalities"] if one["modality"] == FUSION)
    by_status = found["volume"]["by_status"]
    single = [one for one in found["latency"] if one["lane"] == Lane.INTERACTIVE.value]
    estimated = fusion[ESTIMATED]
    return Evidence(
        answered=by_status.get("done", 0),
        failed=by_status.get("failed", 0),
        degraded=sum(one["jobs"] for one in found["degraded"]),
        test=_measured(fusion[TEST]),
        labelled=_measured(fusion[LABELLED]),
        labelled_before=_measured(fusion["before"][LABELLED]),
        estimated=_measured(estimated),
        estimated_before=_measured(fusion["before"][ESTIMATED]),
        past_error=estimated["past_error"] if estimated else None,
        classes=_labelled_classes(found["quality"]["classes"]),
        windows=found["drift"]["windows"],
        moved=found["drift"]["moved"],
        alerts=[one["summary"] for one in found["alerts"] if _is_about_drift(one)],
        slow_seconds=single[0]["p95"] if single else None,
        promoted=_promoted(found["releases"], min(moment, period.ends_at)),
    )


def _modalities(now: Json, before: Json) -> list[Json]:
    return [
        {
            "modality": modality,
            **{kind: _short(one) for kind, one in kinds.items()},
            "before": {kind: _short(one) for kind, one in before[modality].items()},
        }
        for modality, kinds in now.items()
    ]


def _short(figure: Json | None) -> Json | None:
    """Without its classes, which have a table of their own."""
    if figure is None:
        return None
    return {name: value for name, value in figure.items() if name != "classes"}


def _coverage(session: Session, period: Period) -> list[Json]:
    measured = quality.precisions(session, period)
    lines = traffic.coverage(session, period)
    return [line | {"labelled": one} for line, one in zip(lines, measured, strict=True)]


def _labelled_classes(classes: Iterable[Json]) -> dict[str, tuple[Measured, Measured]]:
    found = {}
    for one in classes:
        now, before = _measured(one["now"][LABELLED]), _measured(one["before"][LABELLED])
        if now is not None and before is not None:
            found[one["name"]] = (before, now)
    return found


def _measured(figure: Json | None) -> Measured | None:
    if figure is None:
        return None
    return Measured(figure["f1"], figure["low"], figure["high"], int(figure["rows"]))


def _is_about_drift(alert: Json) -> bool:
    """Whether it tells that something moved.

    What a report raised is what came of a verdict, and no reason for the next one. The calendar
    asks for trainings whatever comes in.
    """
    return not (alert["source"] == "report" or alert["kind"] == "calendar")


def _promoted(served: Iterable[Json], end: datetime) -> str | None:
    """A release that took over shortly before the end, as half a sentence."""
    lately = (end - NEW_FOR).isoformat()
    new = [one for one in served if one["begins_at"] and one["begins_at"] >= lately]
    if not new:
        return None
    return f"release {new[-1]['version']} serves since {new[-1]['begins_at'][:10]}"


def _names(registry: Registry, versions: Iterable[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for version in versions:
        try:
            manifest = registry.manifest(version)
        except NotFound:
            continue
        found |= {category.code: category.name for category in manifest.categories}
    return found


def _written(verdict: Verdict) -> Mapping[str, Any]:
    return {
        "verdict": verdict.level.value,
        "sentence": verdict.sentence,
        "rules": [asdict(finding) | {"level": finding.level.value} for finding in verdict.findings],
    }
