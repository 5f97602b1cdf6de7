"""Scoring of a slice in both modality workers; items that fail get a reason."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.contracts import Failure, Modality, ModalityScore, ModalityScored, WorkMessage
from shared.errors import ModalityNotInRelease, NotFound

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)

#: Digits of a probability in a message; further digits are rounding noise.
DIGITS = 6


class Models(Protocol[Item_contra]):
    """Part of the interface that a slice uses: `shared.inference.serving.pool.ModelPool`."""

    def score(self, version: str, items: Sequence[Item_contra]) -> NDArray[np.float32]:
        """Return the probabilities of items by one release, shape `(len(items), classes)`."""


def score_slice(
    models: Models[Item],
    message: WorkMessage,
    modality: Modality,
    prepared: Mapping[str, Item | Failure],
) -> ModalityScored:
    """Score one slice.

    Args:
        models: Of every release.
        message: The request; its release, lane and traces go into the answer.
        modality: What is scored.
        prepared: By job id, the model's input, or why there is none.

    Raises:
        Unavailable: The release is not here and the registry does not answer.
    """
    readable = {job: item for job, item in prepared.items() if not isinstance(item, Failure)}
    failed = {job: item for job, item in prepared.items() if isinstance(item, Failure)}
    return scored_slice(message, modality, {**_scores(models, message.release, readable), **failed})


def scored_slice(
    message: WorkMessage, modality: Modality, outcome: Mapping[str, NDArray[np.floating] | Failure]
) -> ModalityScored:
    """Build the message with the scores of a slice.

    Args:
        message: The request; its release, lane and traces go into the answer.
        modality: What was scored.
        outcome: By job id, the probabilities `(classes,)`, or why there are none.
    """
    return ModalityScored(
        trace_id=message.trace_id,
        links=message.links,
        lane=message.lane,
        release=message.release,
        modality=modality,
        user_id=message.user_id,
        items=tuple(_score(job, found) for job, found in outcome.items()),
    )


def failure_of_release(error: NotFound | ModalityNotInRelease) -> Failure:
    """Return the failure of a release that cannot score; a retry would not help."""
    # A missing release was deleted from the registry.
    code = error.code if isinstance(error, ModalityNotInRelease) else "release_unknown"
    return Failure(code=code, message=error.detail)


def _scores(
    models: Models[Item], release: str, items: Mapping[str, Item]
) -> dict[str, NDArray[np.floating] | Failure]:
    if not items:
        return {}
    try:
        probabilities = models.score(release, list(items.values()))
    except (NotFound, ModalityNotInRelease) as error:
        return dict.fromkeys(items, failure_of_release(error))
    return dict(zip(items, probabilities, strict=True))


def _score(job: str, found: NDArray[np.floating] | Failure) -> ModalityScore:
    if isinstance(found, Failure):
        return ModalityScore(job_id=job, failure=found)
    return ModalityScore(
        job_id=job, probabilities=tuple(found.astype(float).round(DIGITS).tolist())
    )
