"""Handler of `ScoreImage`."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.broker import Publisher
from shared.contracts import Failure, Modality, ScoreImage
from shared.errors import ImageUnreadable, ModalityNotInRelease, NotFound
from shared.inference.manifest import ImagePart
from shared.inference.releases.image_model import Features, Head, Pixels, halved
from shared.inference.serving.pool import ModelPool
from shared.inference.serving.slices import failure_of_release, scored_slice
from shared.storage import digest_in
from worker_image.scorer import Heads

Row = NDArray[np.floating]

#: Unreadable images kept in memory, a few hundred bytes each.
KEPT_FAILURES = 10_000


class Images(Protocol):
    """Part of `shared.storage.Storage` that the handler uses."""

    def get(self, uri: str) -> bytes:
        """Return the bytes stored at a URI."""


class FeatureStore(Protocol):
    """Part of `shared.inference.releases.feature_cache.OnlineFeatures` that the handler uses."""

    def known(self, part: ImagePart, hashes: Iterable[str]) -> dict[str, Features]:
        """Return the stored features of images, by hash; unknown images are left out."""

    def keep(self, part: ImagePart, features: Mapping[str, Features]) -> None:
        """Store features asynchronously; never raises."""


class Visit(Protocol):
    """Part of `shared.inference.preparation.decoders.Visit` that the handler uses."""

    def prepare(self, content: bytes, size: int) -> Pixels:
        """Return the pixels of an image. Raises `ImageUnreadable`, `Unavailable`."""


class Decoders(Protocol):
    """Part of `shared.inference.preparation.decoders.Decoders` that the handler uses."""

    def visit(self, share: str) -> AbstractContextManager[Visit]:
        """Decode several images of one owner."""


@dataclass(frozen=True)
class ImageHandler:
    """Scores the images of a request and publishes `ModalityScored`.

    Images are decoded while the model scores others. An image with stored features skips decoding,
    the backbone and its batch; one that was unreadable is not decoded again.
    """

    pool: ModelPool[Pixels]
    heads: Heads
    features: FeatureStore
    publisher: Publisher
    images: Images
    decoders: Decoders
    #: Failures of earlier images by URI, which is their content.
    unreadable: dict[str, Failure] = field(default_factory=dict)

    def score_image(self, request: ScoreImage) -> None:
        """Score one request.

        Raises:
            Unavailable: The storage, the registry or the queue does not answer, or other messages
                of the user decode large images.
        """
        uris = list(dict.fromkeys(item.uri for item in request.items))
        try:
            head = self.heads.of(request.release)
            known = self._known(head.part, uris)
            failed, fresh = self._computed(request, head.part, uris, known)
        except (NotFound, ModalityNotInRelease) as error:
            self._publish(request, dict.fromkeys(uris, failure_of_release(error)))
            return
        self._publish(request, {**failed, **_probabilities(head, {**known, **fresh})})
        # After the scores are published, which must not wait for the store.
        digests = {uri: digest_in(uri) for uri in fresh}
        self.features.keep(
            head.part, {digest: halved(fresh[uri]) for uri, digest in digests.items() if digest}
        )

    def _publish(self, request: ScoreImage, outcome: Mapping[str, Row | Failure]) -> None:
        by_job = {item.job_id: outcome[item.uri] for item in request.items}
        self.publisher.publish(scored_slice(request, Modality.IMAGE, by_job))

    def _known(self, part: ImagePart, uris: list[str]) -> dict[str, Row]:
        digests = {uri: digest for uri in uris if (digest := digest_in(uri))}
        known = self.features.known(part, digests.values())
        return {uri: known[digest] for uri, digest in digests.items() if digest in known}

    def _computed(
        self, request: ScoreImage, part: ImagePart, uris: list[str], known: Mapping[str, Row]
    ) -> tuple[dict[str, Failure], dict[str, Row]]:
        """Compute missing features; return the failures and the rows of the backbone, by URI."""
        failed: dict[str, Failure] = {}
        pixels: dict[str, Pixels] = {}
        with self.decoders.visit(request.user_id) as visit:
            for uri in uris:
                if uri not in known:
                    prepared = self._pixels(uri, part.size, visit)
                    if isinstance(prepared, Failure):
                        failed[uri] = prepared
                    else:
                        pixels[uri] = prepared
        if not pixels:
            return failed, {}
        rows = self.pool.score(request.release, list(pixels.values()))
        return failed, dict(zip(pixels, rows, strict=True))

    def _pixels(self, uri: str, size: int, visit: Visit) -> Pixels | Failure:
        known = self.unreadable.get(uri)
        if known is not None:
            return known
        try:
            return visit.prepare(self.images.get(uri), size)
        except NotFound as error:
            return Failure(code="image_missing", message=error.detail)
        except ImageUnreadable as error:
            failure = Failure(code=error.code, message=error.detail)
            self._remember(uri, failure)
            return failure

    def _remember(self, uri: str, failure: Failure) -> None:
        if digest_in(uri) is None:
            # Another image may be stored there later.
            return
        if len(self.unreadable) >= KEPT_FAILURES:
            self.unreadable.clear()
        self.unreadable[uri] = failure


def _probabilities(head: Head, rows: Mapping[str, Row]) -> dict[str, Row]:
    if not rows:
        return {}
    return dict(zip(rows, head.score(np.stack(list(rows.values()))), strict=True))
