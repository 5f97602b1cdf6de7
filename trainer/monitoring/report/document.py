"""The monthly report as a JSON document, gathered from the database."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from shared.contracts import Lane
from shared.errors import NotFound
from shared.inference.manifest import ReleaseManifest
from shared.inference.releases.access import ServedReleases
from shared.lifecycle.alerts import ROUTINE
from trainer.monitoring.performance.answers import FUSION
from trainer.monitoring.performance.figures import ESTIMATED, LABELLED, TEST
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.report import confusions, events, quality, traffic
from trainer.monitoring.report.evidence import Evidence, Measured
from trainer.monitoring.report.verdict import Verdict, judge
from trainer.release.tree_levels import Tree

Json = dict[str, Any]

#: A release that has served for less time has too few answers to judge it.
NEW_FOR = timedelta(days=14)
#: Version of the document format.
FORMAT = 1


def gather(session: Session, registry: ServedReleases, period: Period, moment: datetime) -> Json:
    """Gather everything that the page shows. Raises `Unavailable` as the registry does.

    Args:
        session: Read-only.
        registry: Source of the category names.
        period: A month.
        moment: Time of the report.
    """
    volume = traffic.volume(session, period)
    served = events.releases(session, period, volume["by_release"])
    last = events.last_served(served)
    manifests = _manifests(registry, [*volume["by_release"], *([last] if last else [])])
    categories = [one for manifest in manifests.values() for one in manifest.categories]
    names = {category.code: category.name for category in categories}
    tested = manifests[last].figures if last is not None and last in manifests else {}
    now = quality.figures(session, period, last)
    before = quality.figures(session, period.before(), last)
    counts = traffic.answered_codes(session, period)
    document: Json = {
        "format": FORMAT,
        "month": period.name,
        "begins_at": period.begins_at.isoformat(),
        "ends_at": period.ends_at.isoformat(),
        "made_at": moment.isoformat(),
        "is_over": moment >= period.ends_at,
        "quality": {
            "modalities": _modalities(now, before),
            "classes": quality.classes(now[FUSION], before[FUSION], counts, names),
            "levels": quality.levels(session, period, Tree.of(categories), tested),
            "days": quality.days(session, period),
            "not_estimated": quality.not_estimated(session, period),
        },
        "volume": volume,
        "volume_before": traffic.volume(session, period.before())["jobs"],
        "latency": traffic.latency(session, period),
        "errors": traffic.errors(session, period),
        "degraded": traffic.degraded(session, period),
        "drift": events.drift(session, period),
        "alerts": events.alerts(session, period),
        "coverage": _coverage(session, period),
        "confusions": confusions.confusions(session, period, now, names),
        "releases": served,
        "trainings": events.trainings(session, period),
        "labels": events.labels(session, period),
        "names": {str(code): name for code, name in names.items()},
    }
    verdict = judge(evidence_of(document, period, moment))
    return document | {"verdict": _as_json(verdict)}


def evidence_of(document: Json, period: Period, moment: datetime) -> Evidence:
    """Return the figures that the verdict rules compare."""
    modalities = document["quality"]["modalities"]
    fusion = next(figures for figures in modalities if figures["modality"] == FUSION)
    by_status = document["volume"]["by_status"]
    single = [line for line in document["latency"] if line["lane"] == Lane.INTERACTIVE.value]
    estimated = fusion[ESTIMATED]
    return Evidence(
        answered=by_status.get("done", 0),
        failed=by_status.get("failed", 0),
        degraded=sum(line["jobs"] for line in document["degraded"]),
        test=_measured(fusion[TEST]),
        labelled=_measured(fusion[LABELLED]),
        labelled_before=_measured(fusion["before"][LABELLED]),
        estimated=_measured(estimated),
        estimated_before=_measured(fusion["before"][ESTIMATED]),
        past_error=estimated["past_error"] if estimated else None,
        not_estimated=document["quality"].get("not_estimated"),
        classes=_labelled_classes(document["quality"]["classes"]),
        windows=document["drift"]["windows"],
        moved=document["drift"]["moved"],
        alerts=[alert["summary"] for alert in document["alerts"] if _is_about_drift(alert)],
        slow_seconds=single[0]["p95"] if single else None,
        promoted=_promoted(document["releases"], min(moment, period.ends_at)),
    )


def _modalities(now: Json, before: Json) -> list[Json]:
    return [
        {
            "modality": modality,
            **{kind: _without_classes(figure) for kind, figure in kinds.items()},
            "before": {kind: _without_classes(figure) for kind, figure in before[modality].items()},
        }
        for modality, kinds in now.items()
    ]


def _without_classes(figure: Json | None) -> Json | None:
    """Return a figure without its categories, which have their own table."""
    if figure is None:
        return None
    return {name: value for name, value in figure.items() if name != "classes"}


def _coverage(session: Session, period: Period) -> list[Json]:
    measured = quality.precisions(session, period)
    lines = traffic.coverage(session, period)
    return [line | {"labelled": share} for line, share in zip(lines, measured, strict=True)]


def _labelled_classes(classes: Iterable[Json]) -> dict[str, tuple[Measured, Measured]]:
    both = {}
    for category in classes:
        now, before = _measured(category["now"][LABELLED]), _measured(category["before"][LABELLED])
        if now is not None and before is not None:
            both[category["name"]] = (before, now)
    return both


def _measured(figure: Json | None) -> Measured | None:
    if figure is None:
        return None
    return Measured(figure["f1"], figure["low"], figure["high"], int(figure["rows"]))


def _is_about_drift(alert: Json) -> bool:
    """Return True if the alert is evidence of drift.

    An alert of a report follows from a verdict and must not influence the next one. The calendar
    and new labels request trainings regardless of the input.
    """
    return not (alert["source"] == "report" or alert["kind"] in ROUTINE)


def _promoted(served: Iterable[Json], end: datetime) -> str | None:
    """Describe a release that was promoted shortly before the end, as a clause."""
    lately = (end - NEW_FOR).isoformat()
    new = [release for release in served if release["begins_at"] and release["begins_at"] >= lately]
    if not new:
        return None
    return f"release {new[-1]['version']} has served only since {new[-1]['begins_at'][:10]}"


def _manifests(registry: ServedReleases, versions: Iterable[str]) -> Mapping[str, ReleaseManifest]:
    manifests: dict[str, ReleaseManifest] = {}
    for version in versions:
        with suppress(NotFound):
            manifests[version] = registry.manifest(version)
    return manifests


def _as_json(verdict: Verdict) -> Mapping[str, Any]:
    return {
        "verdict": verdict.level.value,
        "sentence": verdict.sentence,
        "rules": [asdict(finding) | {"level": finding.level.value} for finding in verdict.findings],
    }
