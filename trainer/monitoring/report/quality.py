"""Quality of a month's answers: F1 by modality, category and day, and precision."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import Performance
from trainer.monitoring.performance import answers
from trainer.monitoring.performance.answers import FUSION, MODALITIES, Labelled
from trainer.monitoring.performance.cbpe import NORMAL_95
from trainer.monitoring.performance.figures import ESTIMATED, LABELLED, NOT_ESTIMATED, TEST
from trainer.monitoring.performance.levels import measured_levels
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.performance.weighted_f1 import by_code, measured_f1
from trainer.monitoring.report.traffic import THRESHOLDS
from trainer.release.tree_levels import Tree

Json = dict[str, Any]

_COLUMNS = ("f1", "low", "high", "rows")


def figures(session: Session, period: Period, release: str | None) -> Json:
    """Return the F1 of a month by modality and kind, with intervals and categories.

    Args:
        session: Read-only.
        period: A month.
        release: Release whose figures on the test set are shown: the last one that served.
    """
    kinds = {
        LABELLED: answers.reviewed(session, period),
        "volunteered": answers.volunteered(session, period),
    }
    return {
        modality: {
            TEST: _tested(session, period, release, modality),
            **{kind: _measured(labelled, modality) for kind, labelled in kinds.items()},
            ESTIMATED: _estimated(session, period, modality),
        }
        for modality in MODALITIES
    }


def levels(session: Session, period: Period, tree: Tree, tested: Mapping[str, float]) -> list[Json]:
    """Return the F1 of the answers at each level of the tree; empty without a tree.

    Args:
        session: Read-only.
        period: A month.
        tree: Categories of the releases of the month.
        tested: Figures of the release that served last, on its test set.
    """
    found: list[Json] = [
        {"level": level, TEST: _level(tested, level), LABELLED: None, "volunteered": None}
        for level in range(1, tree.depth + 1)
    ]
    kinds = {
        LABELLED: answers.reviewed(session, period),
        "volunteered": answers.volunteered(session, period),
    }
    for kind, labelled in kinds.items():
        truth, predicted, weights = labelled.of(FUSION)
        estimates = measured_levels(tree, truth, predicted, weights) if len(truth) else []
        for line, estimate in zip(found, estimates, strict=False):
            line[kind] = {name: getattr(estimate, name) for name in _COLUMNS}
    return [line for line in found if line[TEST] or line[LABELLED] or line["volunteered"]]


def _level(figures: Mapping[str, float], level: int) -> Json | None:
    """Return a figure of the release; that of its only modality if it has no fusion."""
    kind = next((one for one in MODALITIES if f"{one}_level{level}_f1" in figures), None)
    if kind is None:
        return None
    ends = {name: figures[f"{kind}_level{level}_{name}"] for name in ("f1", "low", "high")}
    return ends | {"rows": figures[f"{kind}_rows"]}


def days(session: Session, period: Period) -> list[Json]:
    """Return the F1 of the answers by day: estimated, and from labels where there are enough."""
    rows = session.scalars(
        select(Performance)
        .where(
            Performance.modality == FUSION,
            Performance.kind.in_((ESTIMATED, LABELLED)),
            Performance.begins_at >= period.begins_at,
            Performance.ends_at <= period.ends_at,
        )
        .order_by(Performance.begins_at, Performance.id)
    )
    by_day: dict[str, dict[str, list[Performance]]] = {}
    for row in rows:
        if row.begins_at and row.ends_at and Period(row.begins_at, row.ends_at).is_day:
            kinds = by_day.setdefault(f"{row.begins_at:%Y-%m-%d}", {})
            kinds.setdefault(row.kind, []).append(row)
    return [
        {"day": day, **{kind: _without_classes(_combined(rows)) for kind, rows in kinds.items()}}
        for day, kinds in sorted(by_day.items())
    ]


def classes(
    now: Json, before: Json, counts: Mapping[int, int], names: Mapping[int, str]
) -> list[Json]:
    """Return for each category the number of answers and its F1 by kind, now and last month."""
    known = {
        code
        for month in (now, before)
        for figure in month.values()
        if figure
        for code in figure["classes"]
    }
    codes = sorted(known | {str(code) for code in counts}, key=int)
    return [
        {
            "code": int(code),
            "name": names.get(int(code), code),
            "answered": counts.get(int(code), 0),
            "now": {kind: _of_class(figure, code) for kind, figure in now.items()},
            "before": {kind: _of_class(figure, code) for kind, figure in before.items()},
        }
        for code in codes
    ]


def precisions(session: Session, period: Period) -> list[Json | None]:
    """Return the precision of reviewed answers at or above each confidence threshold."""
    labelled = answers.reviewed(session, period)
    truth, predicted, weights = labelled.of(FUSION)
    answered = [row for row, code in enumerate(labelled.answers[FUSION]) if code is not None]
    confidence = np.array([labelled.confidences[row] for row in answered])
    return [
        _precision(truth[chosen] == predicted[chosen], weights[chosen])
        if (chosen := confidence >= threshold).any()
        else None
        for threshold in THRESHOLDS
    ]


def _tested(session: Session, period: Period, release: str | None, modality: str) -> Json | None:
    row = session.scalar(
        select(Performance)
        .where(
            Performance.kind == TEST,
            Performance.modality == modality,
            Performance.release == release,
            Performance.measured_at < period.ends_at,
        )
        .order_by(Performance.measured_at.desc())
        .limit(1)
    )
    return None if row is None else _combined([row]) | {"release": release}


def _measured(labelled: Labelled, modality: str) -> Json | None:
    truth, predicted, weights = labelled.of(modality)
    if not len(truth):
        return None
    estimate = measured_f1(truth, predicted, weights)
    total = {name: getattr(estimate, name) for name in _COLUMNS}
    return total | {"classes": by_code(estimate)}


def _estimated(session: Session, period: Period, modality: str) -> Json | None:
    rows = _of_period(session, period, modality, (ESTIMATED, NOT_ESTIMATED))
    estimated = [row for row in rows if row.kind == ESTIMATED]
    # An estimate of the fewer answers would stand for all of them.
    is_enough = 2 * sum(row.rows for row in estimated) > sum(row.rows for row in rows)
    return _combined(estimated) if is_enough else None


def _of_period(
    session: Session, period: Period, modality: str, kinds: Sequence[str]
) -> Sequence[Performance]:
    return session.scalars(
        select(Performance).where(
            Performance.kind.in_(kinds),
            Performance.modality == modality,
            Performance.begins_at == period.begins_at,
            Performance.ends_at == period.ends_at,
        )
    ).all()


def not_estimated(session: Session, period: Period) -> str | None:
    """Return why the F1 of a month could not be estimated; `None` if it was for most answers."""
    rows = _of_period(session, period, FUSION, (ESTIMATED, NOT_ESTIMATED))
    without = [row for row in rows if row.kind == NOT_ESTIMATED]
    if 2 * sum(row.rows for row in without) < sum(row.rows for row in rows) or not without:
        return None
    largest = max(without, key=lambda row: row.rows)
    return str((largest.shift or {}).get("reason"))


def _combined(rows: Sequence[Performance]) -> Json:
    """Combine the figures of several releases, weighted by rows; their errors are independent."""
    share = np.array([row.rows for row in rows], np.float64)
    share /= max(share.sum(), 1.0)
    f1 = float(share @ np.array([row.f1 for row in rows], np.float64))
    ends = [(row.low, row.high) for row in rows if row.low is not None and row.high is not None]
    half = None
    if len(ends) == len(rows):
        halves = np.array([(high - low) / 2 for low, high in ends])
        half = float(np.sqrt(np.sum((share * halves) ** 2)))
    past = [row.past_error for row in rows if row.past_error is not None]
    single = rows[0] if len(rows) == 1 else None
    return {
        "f1": f1,
        "low": single.low if single else None if half is None else max(0.0, f1 - half),
        "high": single.high if single else None if half is None else min(1.0, f1 + half),
        "rows": sum(row.rows for row in rows),
        "past_error": max(past) if past else None,
        "measured_at": max(row.measured_at for row in rows).isoformat(),
        "classes": _combined_classes(rows),
    }


def _combined_classes(rows: Sequence[Performance]) -> Json:
    if len(rows) == 1:
        return rows[0].classes
    combined: Json = {}
    for code in {code for row in rows for code in row.classes}:
        parts = [row.classes[code] for row in rows if code in row.classes]
        share = np.array([part["rows"] for part in parts], np.float64)
        count = float(share.sum())
        share /= max(count, 1e-9)
        f1 = float(share @ [part["f1"] for part in parts])
        halves = np.array([(part["high"] - part["low"]) / 2 for part in parts])
        half = float(np.sqrt(np.sum((share * halves) ** 2)))
        combined[code] = {
            "f1": f1,
            "low": max(0.0, f1 - half),
            "high": min(1.0, f1 + half),
            "rows": count,
            "taken_for": _sum(part.get("taken_for", {}) for part in parts),
        }
    return combined


def _sum(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for code, rows in part.items():
            total[code] = total.get(code, 0.0) + rows
    return total


def _without_classes(figure: Json) -> Json:
    return {name: value for name, value in figure.items() if name != "classes"}


def _of_class(figure: Json | None, code: str) -> Json | None:
    category = figure["classes"].get(code) if figure else None
    return None if category is None else {name: category.get(name) for name in _COLUMNS}


def _precision(is_correct: np.ndarray, weights: np.ndarray) -> Json:
    """Return a weighted share with Wilson's interval (1927) for the effective number of rows."""
    share = float(weights @ is_correct / weights.sum())
    rows = float(weights.sum() ** 2 / (weights**2).sum())
    square = NORMAL_95**2
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    half = float(np.sqrt(share * (1 - share) / rows + square / (4 * rows**2)))
    half *= NORMAL_95 / (1 + square / rows)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {"precision": share, "low": low, "high": high, "rows": len(is_correct)}
