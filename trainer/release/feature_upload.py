"""Upload of the image features that training computed, so that workers need not compute them.

Training and workers read the same file, `image/backbone.onnx`, and store features under a digest
of it, so both compute the same features. A sample is verified before the upload.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from shared.errors import Unavailable
from shared.inference.manifest import ImagePart, ReleaseManifest
from shared.inference.preparation.decoders import prepare
from shared.inference.releases.feature_cache import STORED, address
from shared.inference.releases.image_model import Features
from shared.storage import Storage
from trainer.datasets.images import read_image
from trainer.release.image_features import FeatureStore, image_key
from trainer.release.loaded import ImageModel

#: Number of images whose features are verified before any are published.
CHECKED = 8
#: Tolerance relative to an image's largest feature: half a step of half precision, and the effect
#: of another order of additions.
AGREES = 2e-3
#: Parallel writes, and number of features read ahead: a remote storage responds slowly.
WRITERS = 8
PIECE = 256


@dataclass(frozen=True)
class UploadTarget:
    """Storage where workers look image features up.

    Attributes:
        storage: Storage that all workers share.
        max_bytes: Limit of stored features; uploading more would only evict earlier ones.
    """

    storage: Storage
    max_bytes: int


def publish_features(
    release: Path,
    features: Path,
    images: Sequence[str],
    target: UploadTarget,
    log_line: Callable[[str], None],
) -> int:
    """Publish the stored features of a release's extractor; return the number of new images.

    Publishing is best effort: an unavailable storage, or features that differ from those of the
    release, only produce a log line.

    Args:
        release: Release folder.
        features: Folder of the feature stores, one below it for each extractor.
        images: References of training images; the features of a few are verified.
        target: Storage to publish to.
        log_line: Called with log lines.
    """
    part = ReleaseManifest.read(release).image
    if part is None or part.extractor is None:
        return 0
    store = FeatureStore(features / part.extractor)
    if not agrees(store, release, part, images[:CHECKED]):
        log_line(f"no features published: those of {part.extractor} differ from the release's")
        return 0
    try:
        published = publish(store, part, target)
    except Unavailable as error:
        log_line(f"no features published: {error.detail}")
        return 0
    log_line(f"published the features of {published} new images, of {len(store)}")
    return published


def agrees(store: FeatureStore, release: Path, part: ImagePart, images: Sequence[str]) -> bool:
    """Return True if a release computes the same features as the store for images in both."""
    model = ImageModel(release, part)
    for content in map(read_image, images):
        one = image_key(content)
        if one not in store:
            continue
        kept = store.of([one])[0].astype(np.float32)
        found = model.features(prepare(content, part.size)[None])[0].astype(np.float32)
        if np.abs(found - kept).max() > AGREES * max(np.abs(kept).max(), 1.0):
            return False
    return True


def publish(store: FeatureStore, part: ImagePart, target: UploadTarget) -> int:
    """Write the missing features up to the limit of the storage; return their number.

    Raises:
        Unavailable: The storage is full or does not respond.
    """
    extractor = part.extractor or ""
    existing = {
        file.uri
        for share in target.storage.folders(f"features/{extractor}")
        for file in target.storage.files(share)
    }
    room = target.max_bytes // (part.features * STORED.itemsize) - len(existing)

    def write(item: tuple[str, Features]) -> None:
        uri, row = item
        target.storage.put_at(uri, row.astype(STORED).tobytes())

    addressed = ((address(extractor, one), row) for one, row in store.items())
    missing = islice((item for item in addressed if item[0] not in existing), max(room, 0))
    published = 0
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="publish") as threads:
        for piece in _pieces(missing):
            published += len(list(threads.map(write, piece)))
    return published


def _pieces(items: Iterator[tuple[str, Features]]) -> Iterator[list[tuple[str, Features]]]:
    while piece := list(islice(items, PIECE)):
        yield piece
