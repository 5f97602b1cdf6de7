"""What both modality workers do with a slice: score what can be scored, say why of the rest."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from shared.contracts import Failure, Modality, ModalityScore, ModalityScored, WorkMessage
from shared.errors import NotFound
from shared.inference.pool import ModelPool

Item = TypeVar("Item")

#: Digits of a probability in a message; the rest is noise of the arithmetic.
DIGITS = 6


def score_slice(
    pool: ModelPool[Item],
    message: WorkMessage,
    modality: Modality,
    prepared: Mapping[str, Item | Failure],
) -> ModalityScored:
    """Score one slice.

    Args:
        pool: The models.
        message: The request; its release, lane and trace go into the answer.
        modality: What is scored.
        prepared: By job id, the model's input, or why there is none.

    Raises:
        Unavailable: The release is not here and the registry does not answer.
    """
    readable = {job: item for job, item in prepared.items() if not isinstance(item, Failure)}
    failed = {job: item for job, item in prepared.items() if isinstance(item, Failure)}
    return ModalityScored(
        trace_id=message.trace_id,
        lane=message.lane,
        release=message.release,
        modality=modality,
        items=(
            *_scores(pool, message.release, readable),
            *(ModalityScore(job_id=job, failure=failure) for job, failure in failed.items()),
        ),
    )


def _scores(
    pool: ModelPool[Item], release: str, items: Mapping[str, Item]
) -> Sequence[ModalityScore]:
    if not items:
        return ()
    try:
        probabilities = pool.score(release, list(items.values()))
    except NotFound as error:
        # Asking again would not help: the release was deleted from the registry.
        failure = Failure(code="release_unknown", message=error.detail)
        return [ModalityScore(job_id=job, failure=failure) for job in items]
    rows = probabilities.astype(float).round(DIGITS).tolist()
    return [
        ModalityScore(job_id=job, probabilities=tuple(row))
        for job, row in zip(items, rows, strict=True)
    ]
