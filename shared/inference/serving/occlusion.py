"""Effect of parts of an input on the log-odds of a category, by leaving them out.

Occlusion needs no gradients, so it explains every release, and a model that ignores a part gives it
an effect of 0 (Zeiler and Fergus, 2014, https://arxiv.org/abs/1311.2901).
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.contracts import (
    Explained,
    ExplainImage,
    ExplainText,
    Failure,
    Modality,
    ModalityExplained,
)

Item = TypeVar("Item")
Request = ExplainText | ExplainImage

#: Most variants of a product in one explanation, the product itself included.
MOST_VARIANTS = 64
#: Digits of an effect and of a probability.
DIGITS = 4
#: A probability is kept so far from 0 and 1 that its log-odds are finite: models give no more than
#: six digits that mean anything.
_EDGE = 1e-6


def effects(whole: float, without: NDArray[np.floating]) -> list[float]:
    """Return the fall of the log-odds without each part; positive parts speak for the category.

    Args:
        whole: Probability of the category with nothing left out.
        without: Probabilities without each part, shape `(parts,)`.
    """
    fall = _log_odds(np.asarray(whole, np.float64)) - _log_odds(without.astype(np.float64))
    found: list[float] = (fall.round(DIGITS) + 0.0).tolist()
    return found


def in_turns(items: Sequence[Item], at_once: int) -> Iterator[Sequence[Item]]:
    """Yield items in small groups: between two model calls, others have their turn."""
    for start in range(0, len(items), at_once):
        yield items[start : start + at_once]


def explain_unless_expired(
    request: Request,
    modality: Modality,
    clock: Callable[[], datetime],
    explain: Callable[[Any], Explained],
) -> ModalityExplained:
    """Return the answer to a request: each item explained, or failed once the time is over.

    Args:
        request: The request; its release, lane, trace and user go into the answer.
        modality: The explained modality.
        clock: Returns the present time.
        explain: Explains one item of the request.
    """
    return ModalityExplained(
        trace_id=request.trace_id,
        lane=request.lane,
        release=request.release,
        modality=modality,
        user_id=request.user_id,
        items=tuple(
            _expired(item.job_id) if clock() > request.expires_at else explain(item)
            for item in request.items
        ),
    )


def _expired(job_id: str) -> Explained:
    failure = Failure(
        code="explanation_expired", message="The workers were too busy to explain it in time"
    )
    return Explained(job_id=job_id, failure=failure)


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.clip(probability, _EDGE, 1 - _EDGE)
    odds: NDArray[np.float64] = np.log(kept) - np.log1p(-kept)
    return odds
