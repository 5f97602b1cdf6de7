"""Handler of `ExplainText`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby

import numpy as np

from shared.broker import Publisher
from shared.contracts import (
    Explained,
    ExplainedWords,
    ExplainText,
    ExplainTextItem,
    Modality,
)
from shared.errors import ModalityNotInRelease, NotFound
from shared.inference.preparation.text import product_text
from shared.inference.releases.access import ReleaseReader
from shared.inference.serving.occlusion import (
    DIGITS,
    MOST_VARIANTS,
    effects,
    explain_unless_expired,
    in_turns,
)
from shared.inference.serving.pool import ModelPool
from shared.inference.serving.slices import failure_of_release
from worker_text.words import Word, words_of

#: Variants in one model call, after which other requests have their turn.
AT_ONCE = 8


@dataclass(frozen=True)
class TextExplainer:
    """Scores products without some of their words, and publishes `ModalityExplained`."""

    pool: ModelPool[str]
    releases: ReleaseReader
    publisher: Publisher
    clock: Callable[[], datetime]

    def explain_text(self, request: ExplainText) -> None:
        """Explain the texts of one request.

        Raises:
            Unavailable: The registry or the queue does not answer.
        """
        explained = explain_unless_expired(
            request, Modality.TEXT, self.clock, partial(self._explained, request.release)
        )
        self.publisher.publish(explained)

    def _explained(self, release: str, item: ExplainTextItem) -> Explained:
        words = words_of(item.designation, item.description, MOST_VARIANTS - 1)
        variants = [product_text(*words.without(part)) for part in (None, *range(words.parts))]
        try:
            column = self.releases.manifest(release).category_set.codes.index(item.prdtypecode)
            rows = [self.pool.score(release, few) for few in in_turns(variants, AT_ONCE)]
        except (NotFound, ModalityNotInRelease) as error:
            return Explained(job_id=item.job_id, failure=failure_of_release(error))
        found = np.concatenate(rows)[:, column]
        by_part = effects(float(found[0]), found[1:])
        return Explained(
            job_id=item.job_id,
            probability=round(float(found[0]), DIGITS),
            designation=_joined(words.designation, by_part),
            description=_joined(words.description, by_part),
        )


def _joined(words: Sequence[Word], by_part: Sequence[float]) -> tuple[ExplainedWords, ...]:
    """Join consecutive words of the same part."""
    return tuple(
        ExplainedWords(
            text=" ".join(word.text for word in group),
            effect=0.0 if part is None else by_part[part],
        )
        for part, group in groupby(words, key=lambda word: word.part)
    )
