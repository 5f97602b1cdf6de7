"""Computes answers from scores; pure functions without database or queue."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.contracts import Failure, Modality
from shared.inference.releases.fusion_model import FusionModel
from shared.inference.releases.novelty import FOREIGN_FROM, Novelty

Floats = NDArray[np.float32]

#: Number of categories in an answer.
TOP = 5
#: Digits of a probability in an answer.
DIGITS = 4
#: Name of the kind of answers from both modalities.
BOTH = "fusion"
#: Novelty without scales, for releases that have no `novelty.json`.
UNKNOWN = Novelty({})


@dataclass(frozen=True)
class Evidence:
    """Results of one job: each modality's probabilities `(classes,)`, or its failure."""

    probabilities: dict[Modality, Floats] = field(default_factory=dict)
    failures: dict[Modality, Failure] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """Predicted category of a job with the details of its result, or the failure."""

    prdtypecode: int | None = None
    confidence: float | None = None
    result: dict[str, Any] | None = None
    is_foreign: bool | None = None
    failure: Failure | None = None


def answers(
    evidence: Sequence[Evidence],
    categories: CategorySet,
    fusion: FusionModel | None,
    novelty: Novelty = UNKNOWN,
) -> list[Answer]:
    """Answer from both modalities, from the one that succeeded, or with a failure.

    Args:
        evidence: Scores of several jobs; the answers are in the same order.
        categories: Categories of the release.
        fusion: Fusion model; `None` if the release has only one modality.
        novelty: Scales of the release; without the scale of an answer, that has no novelty.
    """
    scored = [one for one in evidence if one.probabilities]
    found = iter(_answers(scored, categories, fusion, novelty) if scored else ())
    return [
        next(found) if one.probabilities else Answer(failure=next(iter(one.failures.values())))
        for one in evidence
    ]


def _answers(
    evidence: Sequence[Evidence],
    categories: CategorySet,
    fusion: FusionModel | None,
    novelty: Novelty,
) -> Iterator[Answer]:
    fused = _fused(evidence, fusion)
    order = np.argsort(-fused, axis=1, kind="stable")[:, :TOP]
    likeliest = _rounded(np.take_along_axis(fused, order, axis=1))
    foreign = _foreign(evidence, fused, novelty)
    rows = zip(evidence, order.tolist(), likeliest, foreign, strict=True)
    for one, columns, probabilities, found in rows:
        top = [
            {"prdtypecode": code, **_named(code, categories), "probability": probability}
            for code, probability in (
                (categories.codes[column], probability)
                for column, probability in zip(columns, probabilities, strict=True)
            )
        ]
        yield Answer(
            prdtypecode=categories.codes[columns[0]],
            confidence=probabilities[0],
            result={
                **_named(categories.codes[columns[0]], categories),
                "top": top,
                "modalities": {
                    modality.value: _leading(found, categories)
                    for modality, found in sorted(one.probabilities.items())
                },
                "degraded": _degraded(one.failures),
                **_reason(one.failures),
                **found,
            },
            is_foreign=found.get("is_foreign"),
        )


def _foreign(
    evidence: Sequence[Evidence], fused: Floats, novelty: Novelty
) -> Sequence[dict[str, Any]]:
    """Return the fields about foreign products of each result; empty where there is no scale."""
    found: list[dict[str, Any]] = [{} for _ in evidence]
    kinds = [_kind(one) for one in evidence]
    for kind in set(kinds):
        rows = [row for row, other in enumerate(kinds) if other == kind]
        scores = novelty.score(kind, fused[rows])
        if scores is not None:
            for row, score in zip(rows, scores.tolist(), strict=True):
                is_foreign = score >= FOREIGN_FROM
                found[row] = {"novelty": round(score, DIGITS), "is_foreign": is_foreign}
    return found


def _kind(one: Evidence) -> str:
    return BOTH if len(one.probabilities) > 1 else next(iter(one.probabilities)).value


def _named(code: int, categories: CategorySet) -> dict[str, Any]:
    """Return the name of a category and, in a tree, the parts of its path."""
    path = categories.path(code)
    found: dict[str, Any] = {"category": categories.name(code)}
    return found | {"category_path": [*path]} if path else found


def _fused(evidence: Sequence[Evidence], fusion: FusionModel | None) -> Floats:
    """One distribution a job, shape `(jobs, classes)`."""
    fused = np.stack([next(iter(one.probabilities.values())) for one in evidence])
    both = [row for row, one in enumerate(evidence) if len(one.probabilities) > 1]
    if fusion is not None and both:
        text, image = (
            np.stack([evidence[row].probabilities[modality] for row in both])
            for modality in (Modality.TEXT, Modality.IMAGE)
        )
        fused[both] = fusion.combine(text, image)
    return fused


def _leading(probabilities: Floats, categories: CategorySet) -> dict[str, Any]:
    best = int(probabilities.argmax())
    return {
        "prdtypecode": categories.codes[best],
        "confidence": round(float(probabilities[best]), DIGITS),
    }


def _degraded(failures: dict[Modality, Failure]) -> str | None:
    return "; ".join(failure.code for failure in failures.values()) or None


def _reason(failures: dict[Modality, Failure]) -> dict[str, str]:
    if not failures:
        return {}
    return {"degraded_message": "; ".join(failure.message for failure in failures.values())}


def _rounded(probabilities: Floats) -> list[list[float]]:
    rounded: list[list[float]] = probabilities.astype(np.float64).round(DIGITS).tolist()
    return rounded
