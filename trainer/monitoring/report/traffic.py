"""Volume, latency, errors and coverage of a month, aggregated by the database."""

from collections import defaultdict
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Float, SQLColumnExpression, String, cast, func, select
from sqlalchemy.orm import Session

from shared.db.models import Catalog, Job, JobStatus
from trainer.monitoring.performance.answers import AT_ONCE, within
from trainer.monitoring.performance.periods import Period

#: Confidence thresholds of the coverage table.
THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
SHARES = (50, 95, 99)
_IS_DONE = Job.status == JobStatus.DONE.value


def volume(session: Session, period: Period) -> dict[str, Any]:
    """Count the jobs by day, by lane and model, by status, and by release."""
    date = _day(session, Job.finished_at).label("day")
    columns = (date, Job.lane, Job.model, Job.status, Job.release)
    # Grouped in an outer query: PostgreSQL treats two copies of an expression with a parameter as
    # different.
    jobs_of = select(*columns).where(within(period)).subquery()
    counted = session.execute(select(*jobs_of.c, func.count().label("jobs")).group_by(*jobs_of.c))
    days: dict[str, dict[str, int]] = {f"{day.begins_at:%Y-%m-%d}": {} for day in period.days()}
    kinds: dict[tuple[str, str], int] = defaultdict(int)
    statuses: dict[str, int] = defaultdict(int)
    releases: dict[str, int] = defaultdict(int)
    for row in counted:
        of_day = days.setdefault(str(row.day), {})
        of_day[row.lane] = of_day.get(row.lane, 0) + row.jobs
        kinds[(row.lane, row.model)] += row.jobs
        statuses[row.status] += row.jobs
        releases[row.release] += row.jobs if row.status == JobStatus.DONE.value else 0
    return {
        "jobs": sum(statuses.values()),
        "catalogs": _catalogs(session, period),
        "by_status": dict(statuses),
        "by_day": [{"day": date, **lanes} for date, lanes in sorted(days.items())],
        "by_kind": [
            {"lane": lane, "model": model, "jobs": jobs}
            for (lane, model), jobs in sorted(kinds.items())
        ],
        "by_release": dict(sorted(releases.items())),
    }


def latency(session: Session, period: Period) -> list[dict[str, Any]]:
    """Return percentiles of the seconds from submission to answer, by lane."""
    seconds = _seconds(session, Job.created_at, Job.finished_at)
    query = select(Job.lane, seconds).where(within(period), _IS_DONE)
    durations: dict[str, list[np.ndarray]] = defaultdict(list)
    for rows in session.execute(query, execution_options={"yield_per": AT_ONCE}).partitions():
        lanes = np.array([row[0] for row in rows])
        took = np.array([row[1] for row in rows], np.float32)
        for lane in np.unique(lanes):
            durations[str(lane)].append(took[lanes == lane])
    return [
        {
            "lane": lane,
            "jobs": int(sum(map(len, parts))),
            **{
                f"p{share}": round(float(value), 4)
                for share, value in zip(
                    SHARES, np.percentile(np.concatenate(parts), SHARES), strict=True
                )
            },
        }
        for lane, parts in sorted(durations.items())
    ]


def errors(session: Session, period: Period) -> list[dict[str, Any]]:
    """Count the failed jobs by error code, most frequent first."""
    return _counted(
        session, within(period) & (Job.status == JobStatus.FAILED.value), Job.error_code, "code"
    )


def degraded(session: Session, period: Period) -> list[dict[str, Any]]:
    """Count the degraded answers, which ignore part of the input, by reason."""
    reason = Job.result["degraded"].as_string()
    return _counted(session, within(period) & _IS_DONE & reason.is_not(None), reason, "reason")


def coverage(session: Session, period: Period) -> list[dict[str, Any]]:
    """Return, for each confidence threshold, the share of answers and their expected precision.

    Confidences are calibrated probabilities, so their mean is the expected precision.
    """
    above = [Job.confidence >= threshold for threshold in THRESHOLDS]
    counts = [func.count().filter(condition) for condition in above]
    means = [func.avg(Job.confidence).filter(condition) for condition in above]
    row = session.execute(
        select(*counts, *means).where(within(period), _IS_DONE, Job.confidence.is_not(None))
    ).one()
    numbers, precisions = row[: len(above)], row[len(above) :]
    return [
        {
            "threshold": threshold,
            "answers": count,
            "share": count / numbers[0] if numbers[0] else 0.0,
            "estimated": None if mean is None else float(mean),
        }
        for threshold, count, mean in zip(THRESHOLDS, numbers, precisions, strict=True)
    ]


def answered_codes(session: Session, period: Period) -> dict[int, int]:
    """Count the answers of each category."""
    query = (
        select(Job.prdtypecode, func.count().label("jobs"))
        .where(within(period), _IS_DONE, Job.prdtypecode.is_not(None))
        .group_by(Job.prdtypecode)
    )
    return {int(row.prdtypecode): row.jobs for row in session.execute(query)}


def _catalogs(session: Session, period: Period) -> dict[str, int]:
    created = (Catalog.created_at >= period.begins_at) & (Catalog.created_at < period.ends_at)
    count, rows = session.execute(
        select(func.count(), func.coalesce(func.sum(Catalog.rows), 0)).where(created)
    ).one()
    return {"catalogs": count, "rows": int(rows)}


def _counted(
    session: Session, condition: ColumnElement[bool], column: SQLColumnExpression[Any], name: str
) -> list[dict[str, Any]]:
    values = select(column.label("value")).where(condition).subquery()
    jobs = func.count()
    query = select(values.c.value, jobs).group_by(values.c.value).order_by(jobs.desc())
    return [{name: value or "unknown", "jobs": count} for value, count in session.execute(query)]


def _day(session: Session, moment: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """Return the SQL expression of a day in UTC, such as `2026-11-03`."""
    if session.get_bind().dialect.name == "postgresql":
        return func.to_char(func.timezone("UTC", moment), "YYYY-MM-DD")
    return func.substr(cast(moment, String), 1, 10)


def _seconds(
    session: Session, begins: SQLColumnExpression[Any], ends: SQLColumnExpression[Any]
) -> ColumnElement[Any]:
    if session.get_bind().dialect.name == "postgresql":
        return cast(func.extract("epoch", ends - begins), Float)
    return (func.julianday(ends) - func.julianday(begins)) * 86_400.0
