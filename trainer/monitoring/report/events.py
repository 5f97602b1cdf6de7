"""What happened in a month: drift, alerts, releases, trainings, labels."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.db.models import DriftAlert, DriftWindow, Job, Promotion, Review, TrainingRun
from trainer.monitoring.performance.periods import Period

Json = dict[str, Any]

#: In this order.
KINDS = ("prediction", "text", "image", "quality")
#: More points than these cannot be told apart.
MOST_POINTS = 150
#: Of a window that moved: categories, features and products that are named.
MOST_NAMED = 3


def drift(session: Session, period: Period) -> Json:
    """Windows of answers against the reference: how many had moved, how far, and in what."""
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
        for kind, measured in row.measured.items():
            _add(kinds.setdefault(kind, _nothing(kind)), row, measured)
    named = [kinds.pop(kind) for kind in KINDS if kind in kinds]
    found = [*named, *kinds.values()]
    for one in found:
        one["points"] = one["points"][:: max(1, len(one["points"]) // MOST_POINTS)]
    return {"windows": windows, "moved": moved, "kinds": found}


def alerts(session: Session, period: Period) -> list[Json]:
    """What was raised, and every step that was taken."""
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
    """Which release served from when to when, and who decided it why.

    Releases that only answered jobs which asked for them are at the end, without a time.
    """
    ledger = session.scalars(
        select(Promotion)
        .where(Promotion.promoted_at < period.ends_at)
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
    known = {one["version"] for one in served}
    unknown = [
        {"version": version, "begins_at": None, "ends_at": None, "by": None, "jobs": count}
        | {"reason": "Asked for by version", "f1": None}
        for version, count in jobs.items()
        if version not in known and count
    ]
    return [*served, *unknown]


def last_served(releases: Sequence[Json]) -> str | None:
    """The version that served at the end; one that was only asked for by version never did."""
    served = [one["version"] for one in releases if one["begins_at"]]
    return served[-1] if served else None


def trainings(session: Session, period: Period) -> list[Json]:
    """What was asked to be trained, and what came of it."""
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
    """How many answers were drawn for review, and how many got a label."""
    drawn = session.execute(
        select(
            Review.reason,
            func.count().label("drawn"),
            func.count(Job.labelled_at).label("labelled"),
        )
        .join(Job, Job.id == Review.job_id)
        .where(Review.chosen_at >= period.begins_at, Review.chosen_at < period.ends_at)
        .group_by(Review.reason)
        .order_by(Review.reason)
    )
    own_accord = session.scalar(
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
        "volunteered": own_accord or 0,
    }


def _nothing(kind: str) -> Json:
    return {"kind": kind, "windows": 0, "moved": 0, "largest": None, "points": []}


def _add(found: Json, row: DriftWindow, measured: Json) -> None:
    has_moved = found["kind"] in row.moved
    effect, threshold = measured.get("effect", 0.0), measured.get("threshold") or 0.0
    found["windows"] += 1
    found["moved"] += has_moved
    found["points"].append(
        {
            "at": row.ends_at.isoformat(),
            "effect": effect,
            "threshold": threshold,
            "moved": has_moved,
        }
    )
    largest = found["largest"]
    # One that moved counts more than a larger effect of fewer rows.
    if largest is None or (has_moved, effect) > (largest["moved"], largest["effect"]):
        found["largest"] = {
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
    def change(one: Json) -> float:
        return abs(float(one.get("window", 0.0)) - float(one.get("reference", 0.0)))

    return sorted(classes, key=change, reverse=True)[:MOST_NAMED]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
