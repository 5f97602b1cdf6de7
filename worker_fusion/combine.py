"""Turns a job's scores into its answer. Pure: no rows, no queue."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.categories import CategorySet
from shared.contracts import Failure, Modality
from shared.inference.fusion import FusionModel

Floats = NDArray[np.float32]

#: How many categories an answer lists.
TOP = 5
#: Digits of a probability in an answer.
DIGITS = 4


@dataclass(frozen=True)
class Evidence:
    """What is known of one job: each modality's probabilities `(classes,)`, or its failure."""

    probabilities: dict[Modality, Floats] = field(default_factory=dict)
    failures: dict[Modality, Failure] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A job's category with the rest of what the interface shows, or why there is none."""

    prdtypecode: int | None = None
    confidence: float | None = None
    result: dict[str, Any] | None = None
    failure: Failure | None = None


def answer(evidence: Evidence, categories: CategorySet, fusion: FusionModel | None) -> Answer:
    """Answer with what there is: both modalities, the one that worked, or a failure.

    Args:
        evidence: Of one job.
        categories: Of the release.
        fusion: `None` where the release has only one modality.
    """
    if not evidence.probabilities:
        return Answer(failure=next(iter(evidence.failures.values())))
    fused = _fused(evidence.probabilities, fusion)
    best = int(fused.argmax())
    code = categories.codes[best]
    return Answer(
        prdtypecode=code,
        confidence=_rounded(fused[best]),
        result={
            "category": categories.name(code),
            "top": _top(fused, categories),
            "modalities": {
                modality.value: _leading(found, categories)
                for modality, found in sorted(evidence.probabilities.items())
            },
            "degraded": _degraded(evidence.failures),
        },
    )


def _fused(probabilities: dict[Modality, Floats], fusion: FusionModel | None) -> Floats:
    if fusion is None or len(probabilities) == 1:
        return next(iter(probabilities.values()))
    text, image = probabilities[Modality.TEXT], probabilities[Modality.IMAGE]
    fused: Floats = fusion.combine(text[np.newaxis], image[np.newaxis])[0]
    return fused


def _top(probabilities: Floats, categories: CategorySet) -> list[dict[str, Any]]:
    order = np.argsort(-probabilities, kind="stable")[:TOP]
    return [
        {
            "prdtypecode": categories.codes[column],
            "category": categories.name(categories.codes[column]),
            "probability": _rounded(probabilities[column]),
        }
        for column in order
    ]


def _leading(probabilities: Floats, categories: CategorySet) -> dict[str, Any]:
    best = int(probabilities.argmax())
    return {
        "prdtypecode": categories.codes[best],
        "confidence": _rounded(probabilities[best]),
    }


def _degraded(failures: dict[Modality, Failure]) -> str | None:
    return "; ".join(failure.code for failure in failures.values()) or None


def _rounded(probability: np.float32) -> float:
    return round(float(probability), DIGITS)
