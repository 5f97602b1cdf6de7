"""Confusions of a month: pairs of categories that are mistaken for each other, with examples."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.models import Job, JobStatus
from shared.lifecycle.label_trust import is_trusted_label
from shared.skipping import skipping
from trainer.monitoring.performance.answers import FUSION, within
from trainer.monitoring.performance.figures import ESTIMATED, TEST
from trainer.monitoring.performance.periods import Period

#: Pairs of categories shown, and example products of each.
PAIRS, EXAMPLES = 10, 3
#: Minimum number of wrong labelled answers; fewer are mostly chance.
LEAST_WRONG = 20
TITLE_CHARACTERS = 120
#: Answers of a category searched for examples of an expected confusion.
SEARCHED = 400
#: Expected confusions are looked for among answers below this confidence.
UNSURE = 0.6

Json = dict[str, Any]


def confusions(session: Session, period: Period, now: Json, names: Mapping[int, str]) -> Json:
    """Return the most frequent confusions, with example products.

    From labels if there are enough, else from the held-out test set, else from the probabilities.
    """
    labelled = _wrong_labels(session, period)
    if sum(pair["rows"] for pair in labelled) >= LEAST_WRONG:
        for pair in labelled:
            pair["examples"] = _labelled_examples(session, period, pair)
        return {"source": "labels", "pairs": [_named(pair, names) for pair in labelled]}
    for source in (TEST, ESTIMATED):
        if pairs := _stored_pairs(now[FUSION][source]):
            for pair in pairs:
                pair["examples"] = _likely_examples(session, period, pair)
            return {"source": source, "pairs": [_named(pair, names) for pair in pairs]}
    return {"source": None, "pairs": []}


def _wrong_labels(session: Session, period: Period) -> list[Json]:
    wrong = session.execute(
        select(Job.label, Job.prdtypecode)
        .where(within(period), is_trusted_label(), Job.label != Job.prdtypecode)
        .order_by(Job.id)
    )
    counts: dict[tuple[int, int], int] = {}
    for truth, answer in wrong:
        if truth is not None and answer is not None:
            counts[(truth, answer)] = counts.get((truth, answer), 0) + 1
    most = sorted(counts.items(), key=lambda item: -item[1])[:PAIRS]
    return [
        {"truth": truth, "answer": answer, "rows": rows, "share": None}
        for (truth, answer), rows in most
    ]


def _stored_pairs(figure: Json | None) -> list[Json]:
    pairs = [
        {
            "truth": int(code),
            "answer": int(answer),
            "rows": rows,
            "share": rows / category["rows"] if category["rows"] else None,
        }
        for code, category in (figure["classes"] if figure else {}).items()
        for answer, rows in category.get("taken_for", {}).items()
        if rows >= 1
    ]
    return sorted(pairs, key=lambda pair: -float(pair["rows"] or 0))[:PAIRS]


def _labelled_examples(session: Session, period: Period, pair: Json) -> list[Json]:
    rows = session.execute(
        select(Job.id, Job.designation, Job.confidence)
        .where(
            within(period),
            is_trusted_label(),
            Job.label == pair["truth"],
            Job.prdtypecode == pair["answer"],
        )
        .order_by(Job.confidence.desc())
        .limit(SEARCHED)
    )
    return _distinct([_example(*row) for row in rows])


def _likely_examples(session: Session, period: Period, pair: Json) -> list[Json]:
    """Return low-confidence answers whose second category is the true one of the pair."""
    rows = session.execute(
        select(Job.id, Job.designation, Job.confidence, Job.result)
        .where(
            within(period),
            Job.status == JobStatus.DONE.value,
            Job.prdtypecode == pair["answer"],
            Job.confidence < UNSURE,
        )
        .limit(SEARCHED)
    )
    examples = []
    for id_, designation, confidence, result in rows:
        with skipping("report", id_):
            if _second_code(result) == pair["truth"]:
                examples.append(_example(id_, designation, confidence))
    return _distinct(examples)


def _distinct(examples: Sequence[Json]) -> list[Json]:
    """Return a few examples with distinct titles."""
    first = {example["designation"]: example for example in reversed(examples)}
    return [example for example in examples if first[example["designation"]] is example][:EXAMPLES]


def _second_code(result: Json | None) -> int | None:
    top = (result or {}).get("top") or []
    return top[1]["prdtypecode"] if len(top) > 1 else None


def _example(job_id: str, designation: str, confidence: float | None) -> Json:
    return {
        "job_id": job_id,
        "designation": designation[:TITLE_CHARACTERS],
        "confidence": confidence,
    }


def _named(pair: Json, names: Mapping[int, str]) -> Json:
    named = {f"{role}_name": names.get(pair[role], str(pair[role])) for role in ("truth", "answer")}
    return pair | named
