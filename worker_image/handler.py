"""Handles `ScoreImage`."""

from dataclasses import dataclass
from typing import Protocol

from shared.broker import Publisher
from shared.contracts import Failure, Modality, ScoreImage
from shared.errors import ImageUnreadable, NotFound
from shared.inference.image import prepare
from shared.inference.pool import ModelPool
from shared.inference.serving import score_slice
from worker_image.scorer import Pixels


class Pictures(Protocol):
    """What the handler needs of `shared.storage.Storage`."""

    def get(self, uri: str) -> bytes:
        """Read the bytes of an address."""


@dataclass(frozen=True)
class ImageHandler:
    """Scores the pictures of a request and tells fusion.

    Pictures are decoded here, in the message's own thread, while the model scores others.
    """

    pool: ModelPool[Pixels]
    publisher: Publisher
    pictures: Pictures
    size: int

    def score_image(self, request: ScoreImage) -> None:
        """Score one request. Raises `Unavailable` when a part that is needed does not answer."""
        pixels = {item.job_id: self._pixels(item.uri) for item in request.items}
        self.publisher.publish(score_slice(self.pool, request, Modality.IMAGE, pixels))

    def _pixels(self, uri: str) -> Pixels | Failure:
        try:
            return prepare(self.pictures.get(uri), self.size)
        except NotFound as error:
            return Failure(code="image_missing", message=error.detail)
        except ImageUnreadable as error:
            return Failure(code=error.code, message=error.detail)
