"""Handler of `ExplainImage`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from shared.broker import Publisher
from shared.contracts import (
    Explained,
    ExplainImage,
    ExplainImageItem,
    Failure,
    Modality,
)
from shared.errors import ImageUnreadable, ModalityNotInRelease, NotFound
from shared.inference.releases.image_model import Pixels
from shared.inference.serving.occlusion import (
    DIGITS,
    effects,
    explain_unless_expired,
    in_turns,
)
from shared.inference.serving.pool import ModelPool
from shared.inference.serving.slices import failure_of_release
from worker_image.handler import Decoders, Images, Visit
from worker_image.scorer import Heads

#: Rows and columns of the finest and of the coarsest grid.
MOST_CELLS, FEWEST_CELLS = 6, 2
#: Time that an explanation may take, in seconds: the grid is as fine as it allows.
BUDGET_SECONDS = 4.0
#: Variants in one call of the pool, after which other requests have their turn.
AT_ONCE = 1


@dataclass(frozen=True)
class ImageExplainer:
    """Scores images without some of their cells, and publishes `ModalityExplained`."""

    pool: ModelPool[Pixels]
    heads: Heads
    publisher: Publisher
    images: Images
    decoders: Decoders
    clock: Callable[[], datetime]
    #: Seconds on a clock that only rises.
    seconds: Callable[[], float] = time.monotonic

    def explain_image(self, request: ExplainImage) -> None:
        """Explain the images of one request.

        Raises:
            Unavailable: The storage, the registry or the queue does not answer.
        """
        explained = explain_unless_expired(
            request, Modality.IMAGE, self.clock, partial(self._explained, request)
        )
        self.publisher.publish(explained)

    def _explained(self, request: ExplainImage, item: ExplainImageItem) -> Explained:
        try:
            head = self.heads.of(request.release)
            with self.decoders.visit(request.user_id) as visit:
                pixels = self._pixels(item, head.part.size, visit)
            if isinstance(pixels, Failure):
                return Explained(job_id=item.job_id, failure=pixels)
            column = self.heads.codes(request.release).index(item.prdtypecode)
            return self._occluded(request.release, item, pixels, column)
        except (NotFound, ModalityNotInRelease) as error:
            return Explained(job_id=item.job_id, failure=failure_of_release(error))

    def _pixels(self, item: ExplainImageItem, size: int, visit: Visit) -> Pixels | Failure:
        try:
            return visit.prepare(self.images.get(item.uri), size)
        except NotFound as error:
            return Failure(code="image_missing", message=error.detail)
        except ImageUnreadable as error:
            return Failure(code=error.code, message=error.detail)

    def _occluded(
        self, release: str, item: ExplainImageItem, pixels: Pixels, column: int
    ) -> Explained:
        # The first call may have to load the release.
        whole = self._scores(release, [pixels], column)
        started = self.seconds()
        self._scores(release, [pixels], column)
        cells = cells_for(self.seconds() - started)
        without = self._scores(release, list(occluded(pixels, cells)), column)
        found = effects(float(whole[0]), without)
        return Explained(
            job_id=item.job_id,
            probability=round(float(whole[0]), DIGITS),
            grid=tuple(tuple(row) for row in in_turns(found, cells)),
        )

    def _scores(self, release: str, variants: Sequence[Pixels], column: int) -> NDArray[np.float32]:
        """Return the probability of one category for each variant."""
        rows = [self.pool.score(release, few) for few in in_turns(variants, AT_ONCE)]
        scores: NDArray[np.float32] = self.heads.of(release).score(np.concatenate(rows))[:, column]
        return scores


def cells_for(seconds: float) -> int:
    """Return the rows and columns of a grid, given the seconds that one image takes now."""
    affordable = int((BUDGET_SECONDS / max(seconds, 1e-6)) ** 0.5)
    return max(FEWEST_CELLS, min(MOST_CELLS, affordable))


def occluded(pixels: Pixels, cells: int) -> Sequence[Pixels]:
    """Return an image without each of its cells in turn, row by row: they get the mean colour."""
    mean = pixels.mean(axis=(0, 1)).round().astype(np.uint8)
    edges = np.linspace(0, pixels.shape[0], cells + 1).round().astype(int)
    variants = []
    for top, bottom in pairwise(edges):
        for left, right in pairwise(edges):
            variant = pixels.copy()
            variant[top:bottom, left:right] = mean
            variants.append(variant)
    return variants
