"""How good the answers of a month were: F1 by modality, class and day, and what is confused."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import Job, JobStatus, Performance
from trainer.monitoring.performance import answers
from trainer.monitoring.performance.answers import FUSION, MODALITIES, Labelled, within
from trainer.monitoring.performance.measure import ESTIMATED, LABELLED, TEST
from trainer.monitoring.performance.periods import Period
from trainer.monitoring.performance.weighted_f1 import by_code, measured_f1
from trainer.monitoring.report.traffic import THRESHOLDS

#: Pairs of categories that are shown, and products for each.
PAIRS, EXAMPLES = 10, 3
#: Wrong labelled answers below this number show chance more than habits.
LEAST_WRONG = 20
TITLE_CHARACTERS = 120
#: Answers of a category that are looked through for examples of an expected confusion.
LOOKED_AT = 400

Json = dict[str, Any]


def figures(session: Session, period: Period, release: str | None) -> Json:
    """By modality and kind, F1 with its interval and its classes.

    Args:
        session: Reads.
        period: A month.
        release: Whose figures on the test set are shown: the last one that served.
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


def days(session: Session, period: Period) -> list[Json]:
    """F1 of what was answered, by day: the estimate, and the labels where there are enough."""
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
    found: dict[str, dict[str, list[Performance]]] = {}
    for row in rows:
        if row.begins_at and row.ends_at and Period(row.begins_at, row.ends_at).is_day:
            kinds = found.setdefault(f"{row.begins_at:%Y-%m-%d}", {})
            kinds.setdefault(row.kind, []).append(row)
    return [
        {"day": day, **{kind: _whole(_together(rows)) for kind, rows in kinds.items()}}
        for day, kinds in sorted(found.items())
    ]


def classes(
    now: Json, before: Json, counts: Mapping[int, int], names: Mapping[int, str]
) -> list[Json]:
    """Each category: how often it was answered, and its F1 by every kind, beside last month's."""
    known = {
        code
        for of_month in (now, before)
        for one in of_month.values()
        if one
        for code in one["classes"]
    }
    codes = sorted(known | {str(code) for code in counts}, key=int)
    return [
        {
            "code": int(code),
            "name": names.get(int(code), code),
            "answered": counts.get(int(code), 0),
            "now": {kind: _of_class(one, code) for kind, one in now.items()},
            "before": {kind: _of_class(one, code) for kind, one in before.items()},
        }
        for code in codes
    ]


def precisions(session: Session, period: Period) -> list[Json | None]:
    """The share of reviewed answers that are right, at or above each confidence."""
    labelled = answers.reviewed(session, period)
    truth, predicted, weights = labelled.of(FUSION)
    asked = [row for row, one in enumerate(labelled.answers[FUSION]) if one is not None]
    confidence = np.array([labelled.confidences[row] for row in asked])
    return [
        _share(truth[chosen] == predicted[chosen], weights[chosen])
        if (chosen := confidence >= threshold).any()
        else None
        for threshold in THRESHOLDS
    ]


def confusions(session: Session, period: Period, now: Json, names: Mapping[int, str]) -> Json:
    """Which categories are taken for which others, with products.

    By labels where there are enough; else by the test set's answers; else as the probabilities let
    expect.
    """
    of_labels = _wrong_labels(session, period)
    if sum(pair["rows"] for pair in of_labels) >= LEAST_WRONG:
        for pair in of_labels:
            pair["examples"] = _labelled_examples(session, period, pair)
        return {"source": "labels", "pairs": [_named(pair, names) for pair in of_labels]}
    for source in (TEST, ESTIMATED):
        if pairs := _kept_pairs(now[FUSION][source]):
            for pair in pairs:
                pair["examples"] = _likely_examples(session, period, pair)
            return {"source": source, "pairs": [_named(pair, names) for pair in pairs]}
    return {"source": None, "pairs": []}


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
    return None if row is None else _together([row]) | {"release": release}


def _measured(labelled: Labelled, modality: str) -> Json | None:
    truth, predicted, weights = labelled.of(modality)
    if not len(truth):
        return None
    found = measured_f1(truth, predicted, weights)
    ends = {name: getattr(found, name) for name in ("f1", "low", "high", "rows")}
    return ends | {"classes": by_code(found)}


def _estimated(session: Session, period: Period, modality: str) -> Json | None:
    rows = session.scalars(
        select(Performance).where(
            Performance.kind == ESTIMATED,
            Performance.modality == modality,
            Performance.begins_at == period.begins_at,
            Performance.ends_at == period.ends_at,
        )
    ).all()
    return _together(rows) if rows else None


def _together(rows: Sequence[Performance]) -> Json:
    """Several releases' figures as one, by their rows; their errors are independent."""
    share = np.array([row.rows for row in rows], np.float64)
    share /= max(share.sum(), 1.0)
    f1 = float(share @ [row.f1 for row in rows])
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
        "classes": _classes_together(rows),
    }


def _classes_together(rows: Sequence[Performance]) -> Json:
    if len(rows) == 1:
        return rows[0].classes
    found: Json = {}
    for code in {code for row in rows for code in row.classes}:
        parts = [row.classes[code] for row in rows if code in row.classes]
        share = np.array([part["rows"] for part in parts], np.float64)
        count = float(share.sum())
        share /= max(count, 1e-9)
        f1 = float(share @ [part["f1"] for part in parts])
        halves = np.array([(part["high"] - part["low"]) / 2 for part in parts])
        half = float(np.sqrt(np.sum((share * halves) ** 2)))
        found[code] = {
            "f1": f1,
            "low": max(0.0, f1 - half),
            "high": min(1.0, f1 + half),
            "rows": count,
            "taken_for": _added(part.get("taken_for", {}) for part in parts),
        }
    return found


def _added(parts: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in parts:
        for code, rows in part.items():
            found[code] = found.get(code, 0.0) + rows
    return found


def _whole(figure: Json) -> Json:
    return {name: value for name, value in figure.items() if name != "classes"}


def _of_class(figure: Json | None, code: str) -> Json | None:
    found = figure["classes"].get(code) if figure else None
    return None if found is None else {name: found.get(name) for name in _CLASS}


_CLASS = ("f1", "low", "high", "rows")


def _share(is_right: np.ndarray, weights: np.ndarray) -> Json:
    """A weighted share with Wilson's interval (1927), of as many rows as the weights leave."""
    share = float(weights @ is_right / weights.sum())
    rows = float(weights.sum() ** 2 / (weights**2).sum())
    square = 1.959964**2
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    half = float(np.sqrt(share * (1 - share) / rows + square / (4 * rows**2)))
    half *= 1.959964 / (1 + square / rows)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {"precision": share, "low": low, "high": high, "rows": len(is_right)}


def _wrong_labels(session: Session, period: Period) -> list[Json]:
    wrong = session.execute(
        select(Job.label, Job.prdtypecode)
        .where(within(period), Job.labelled_at.is_not(None), Job.label != Job.prdtypecode)
        .order_by(Job.id)
    )
    counts: dict[tuple[int, int], int] = {}
    for truth, answer in wrong:
        if truth is not None and answer is not None:
            counts[(truth, answer)] = counts.get((truth, answer), 0) + 1
    most = sorted(counts.items(), key=lambda one: -one[1])[:PAIRS]
    return [
        {"truth": truth, "answer": answer, "rows": rows, "share": None}
        for (truth, answer), rows in most
    ]


def _kept_pairs(figure: Json | None) -> list[Json]:
    pairs = [
        {
            "truth": int(code),
            "answer": int(answer),
            "rows": rows,
            "share": rows / one["rows"] if one["rows"] else None,
        }
        for code, one in (figure["classes"] if figure else {}).items()
        for answer, rows in one.get("taken_for", {}).items()
        if rows >= 1
    ]
    return sorted(pairs, key=lambda pair: -float(pair["rows"] or 0))[:PAIRS]


def _labelled_examples(session: Session, period: Period, pair: Json) -> list[Json]:
    rows = session.execute(
        select(Job.id, Job.designation, Job.confidence)
        .where(
            within(period),
            Job.labelled_at.is_not(None),
            Job.label == pair["truth"],
            Job.prdtypecode == pair["answer"],
        )
        .order_by(Job.confidence.desc())
        .limit(LOOKED_AT)
    )
    return _different([_example(*row) for row in rows])


def _likely_examples(session: Session, period: Period, pair: Json) -> list[Json]:
    """Answers whose second likeliest category is the one that they may belong to."""
    rows = session.execute(
        select(Job.id, Job.designation, Job.confidence, Job.result)
        .where(
            within(period),
            Job.status == JobStatus.DONE.value,
            Job.prdtypecode == pair["answer"],
            Job.confidence < 0.6,
        )
        .limit(LOOKED_AT)
    )
    found = [
        _example(id_, designation, confidence)
        for id_, designation, confidence, result in rows
        if _second(result) == pair["truth"]
    ]
    return _different(found)


def _different(examples: Sequence[Json]) -> list[Json]:
    """A few of them; the same title twice shows nothing new."""
    first = {one["designation"]: one for one in reversed(examples)}
    return [one for one in examples if first[one["designation"]] is one][:EXAMPLES]


def _second(result: Json | None) -> int | None:
    top = (result or {}).get("top") or []
    return top[1]["prdtypecode"] if len(top) > 1 else None


def _example(job_id: str, designation: str, confidence: float | None) -> Json:
    return {
        "job_id": job_id,
        "designation": designation[:TITLE_CHARACTERS],
        "confidence": confidence,
    }


def _named(pair: Json, names: Mapping[int, str]) -> Json:
    named = {f"{one}_name": names.get(pair[one], str(pair[one])) for one in ("truth", "answer")}
    return pair | named
