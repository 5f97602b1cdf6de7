"""Events of a month: drift, alerts, releases, trainings, labels."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from shared.db.models import DriftAlert, DriftWindow, Job, Promotion, Review, TrainingRun
from shared.lifecycle.label_trust import is_trusted_label
from shared.lifecycle.ledger import IS_DONE
from shared.skipping import skipping
from trainer.monitoring.performance.periods import Period

Json = dict[str, Any]

#: Kinds of drift in the order of the report.
KINDS = ("prediction", "text", "image", "quality")
#: Maximum number of points in a chart; more would overlap.
MOST_POINTS = 150
#: Categories and products listed for a window that moved.
MOST_NAMED = 3


def drift(session: Session, period: Period) -> Json:
    """Summarise the drift windows: how many moved, by how much, and in which kinds."""
    rows = session.scalars(
        select(DriftWindow)
        .where(DriftWindow.ends_at >= period.begins_at, DriftWindow.ends_at < period.ends_at)
        .order_by(DriftWindow.ends_at)
        .execution_options(yield_per=200)
    )
    windows = moved = 0
    kinds: dict[str, Json] = {}
    for row in rows:
        windows += 1
        moved += bool(row.moved)
        with skipping("report", f"drift window {row.id}"):
            for kind, measured in row.measured.items():
                _add(kinds.setdefault(kind, _empty(kind)), row, measured)
    known = [kinds.pop(kind) for kind in KINDS if kind in kinds]
    ordered = [*known, *kinds.values()]
    for kind_drift in ordered:
        points = kind_drift["points"]
        kind_drift["points"] = points[:: max(1, len(points) // MOST_POINTS)]
    return {"windows": windows, "moved": moved, "kinds": ordered}


def alerts(session: Session, period: Period) -> list[Json]:
    """Return the alerts raised in the month, with all their steps."""
    rows = session.scalars(
        select(DriftAlert)
        .where(DriftAlert.raised_at >= period.begins_at, DriftAlert.raised_at < period.ends_at)
        .order_by(DriftAlert.raised_at)
    )
    return [
        {
            "id": row.id,
            "raised_at": row.raised_at.isoformat(),
            "source": row.source,
            "raised_by": row.raised_by,
            "kind": row.kind,
            "summary": row.summary,
            "status": row.status,
            "steps": row.steps,
        }
        for row in rows
    ]


def releases(session: Session, period: Period, jobs: dict[str, int]) -> list[Json]:
    """Return the releases that served, with their times, the person and the reason.

    Releases that only answered jobs requesting them by version come last, without a time.
    """
    ledger = session.scalars(
        select(Promotion)
        .where(Promotion.promoted_at < period.ends_at, IS_DONE)
        .order_by(Promotion.promoted_at, Promotion.id)
    ).all()
    ends = [*(line.promoted_at for line in ledger[1:]), None][: len(ledger)]
    served = [
        {
            "version": line.version,
            "begins_at": line.promoted_at.isoformat(),
            "ends_at": _iso(end),
            "by": line.promoted_by,
            "reason": line.reason,
            "f1": line.figures.get("fusion_f1_plain", line.figures.get("text_f1_plain")),
            "jobs": jobs.get(line.version, 0),
        }
        for line, end in zip(ledger, ends, strict=True)
        if end is None or end > period.begins_at
    ]
    promoted = {release["version"] for release in served}
    by_version = [
        {"version": version, "begins_at": None, "ends_at": None, "by": None, "jobs": count}
        | {"reason": "Requested by version", "f1": None}
        for version, count in jobs.items()
        if version not in promoted and count
    ]
    return [*served, *by_version]


def last_served(releases: Sequence[Json]) -> str | None:
    """Return the last version that served, ignoring those only requested by version."""
    served = [release["version"] for release in releases if release["begins_at"]]
    return served[-1] if served else None


def trainings(session: Session, period: Period) -> list[Json]:
    """Return the trainings requested in the month, with their outcome."""
    rows = session.scalars(
        select(TrainingRun)
        .where(TrainingRun.requested_at >= period.begins_at)
        .where(TrainingRun.requested_at < period.ends_at)
        .order_by(TrainingRun.requested_at)
    )
    return [
        {
            "id": row.id,
            "requested_at": row.requested_at.isoformat(),
            "requested_by": row.requested_by,
            "reason": row.reason,
            "dataset": row.dataset,
            "status": row.status,
            "version": row.version,
            "message": row.message or (row.verdict or {}).get("sentence"),
        }
        for row in rows
    ]


def labels(session: Session, period: Period) -> Json:
    """Count the answers drawn for review, those labelled, and the labels given unasked."""
    drawn = session.execute(
        select(
            Review.reason,
            func.count().label("drawn"),
            func.count(case((is_trusted_label(), 1))).label("labelled"),
        )
        .join(Job, Job.id == Review.job_id)
        .where(Review.chosen_at >= period.begins_at, Review.chosen_at < period.ends_at)
        .group_by(Review.reason)
        .order_by(Review.reason)
    )
    volunteered = session.scalar(
        select(func.count())
        .select_from(Job)
        .outerjoin(Review, Review.job_id == Job.id)
        .where(
            Job.labelled_at >= period.begins_at,
            Job.labelled_at < period.ends_at,
            Review.job_id.is_(None),
        )
    )
    return {
        "reviews": [
            {"reason": row.reason, "drawn": row.drawn, "labelled": row.labelled} for row in drawn
        ],
        "volunteered": volunteered or 0,
    }


def _empty(kind: str) -> Json:
    return {"kind": kind, "windows": 0, "moved": 0, "largest": None, "points": []}


def _add(drift: Json, row: DriftWindow, measured: Json) -> None:
    has_moved = drift["kind"] in row.moved
    effect, threshold = measured.get("effect", 0.0), measured.get("threshold") or 0.0
    drift["windows"] += 1
    drift["moved"] += has_moved
    drift["points"].append(
        {
            "at": row.ends_at.isoformat(),
            "effect": effect,
            "threshold": threshold,
            "moved": has_moved,
        }
    )
    largest = drift["largest"]
    # A window that moved ranks above a larger effect that is not significant.
    if largest is None or (has_moved, effect) > (largest["moved"], largest["effect"]):
        drift["largest"] = {
            "at": row.ends_at.isoformat(),
            "moved": has_moved,
            "effect": effect,
            "threshold": threshold,
            "p_value": measured.get("p_value"),
            "rows": measured.get("rows", row.rows),
            "sentence": measured.get("sentence", ""),
            "classes": _changed(measured.get("classes") or []),
            "examples": (measured.get("examples") or [])[:MOST_NAMED],
        }


def _changed(classes: Iterable[Json]) -> list[Json]:
    def change(category: Json) -> float:
        return abs(float(category.get("window", 0.0)) - float(category.get("reference", 0.0)))

    return sorted(classes, key=change, reverse=True)[:MOST_NAMED]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
