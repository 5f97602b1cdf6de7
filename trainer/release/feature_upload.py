"""Lets the workers know the images that training has seen, so that they compute none of them.

Training and workers read the same file, `image/backbone.onnx`, and name features by its content; so
what the one computed is what the others would. It is checked all the same.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from shared.errors import Unavailable
from shared.inference.manifest import ImagePart, ReleaseManifest
from shared.inference.preparation.image import prepare
from shared.inference.releases.feature_cache import STORED, address
from shared.inference.releases.image_model import Features
from shared.storage import Storage
from trainer.datasets.images import read_image
from trainer.release.image_features import FeatureStore
from trainer.release.loaded import ImageModel

#: Images that are computed again before any is published.
CHECKED = 8
#: Half a step of half precision, and what another order of additions makes of it, relative to the
#: largest of an image's features.
AGREES = 2e-3
#: Features that are written at once, and read ahead for it; a storage far away answers slowly.
WRITERS = 8
PIECE = 256


@dataclass(frozen=True)
class Online:
    """Where workers look images up.

    Attributes:
        storage: Shared by all workers.
        most_bytes: What they keep there; more would only push out what was just written.
    """

    storage: Storage
    most_bytes: int


def publish_features(
    release: Path,
    features: Path,
    images: Sequence[str],
    online: Online,
    tell: Callable[[str], None],
) -> int:
    """Publish what is known of a release's extractor; returns how many images were not known.

    Nothing depends on it: a storage that does not answer, or features that are not those of the
    release, are told of and left.

    Args:
        release: Folder of a release.
        features: Folder of the feature stores, one below it for each extractor.
        images: References of some that were used; a few of them are computed again.
        online: Where to.
        tell: Called with a line.
    """
    part = ReleaseManifest.read(release).image
    if part is None or part.extractor is None:
        return 0
    store = FeatureStore(features / part.extractor)
    if not agrees(store, release, part, images[:CHECKED]):
        tell(f"the features of {part.extractor} are not those of the release: none are published")
        return 0
    try:
        published = publish(store, part, online)
    except Unavailable as error:
        tell(f"the features are not published: {error.detail}")
        return 0
    tell(f"{published} of {len(store)} images are new to the workers' look-up")
    return published


def agrees(store: FeatureStore, release: Path, part: ImagePart, images: Sequence[str]) -> bool:
    """Whether a release computes, of images in the store, what the store says of them."""
    model = ImageModel(release, part)
    for content in map(read_image, images):
        one = hashlib.sha256(content).hexdigest()
        if one not in store:
            continue
        kept = store.of([one])[0].astype(np.float32)
        found = model.features(prepare(content, part.size)[None])[0].astype(np.float32)
        if np.abs(found - kept).max() > AGREES * max(np.abs(kept).max(), 1.0):
            return False
    return True


def publish(store: FeatureStore, part: ImagePart, online: Online) -> int:
    """Write what is not there yet, as much as is kept there; returns how many.

    Raises:
        Unavailable: The storage is full or does not answer.
    """
    extractor = part.extractor or ""
    there = {
        file.uri
        for share in online.storage.folders(f"features/{extractor}")
        for file in online.storage.files(share)
    }
    room = online.most_bytes // (part.features * STORED.itemsize) - len(there)

    def write(item: tuple[str, Features]) -> None:
        uri, row = item
        online.storage.put_at(uri, row.astype(STORED).tobytes())

    addressed = ((address(extractor, one), row) for one, row in store.items())
    missing = islice((item for item in addressed if item[0] not in there), max(room, 0))
    published = 0
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="publish") as threads:
        for piece in _pieces(missing):
            published += len(list(threads.map(write, piece)))
    return published


def _pieces(items: Iterator[tuple[str, Features]]) -> Iterator[list[tuple[str, Features]]]:
    while piece := list(islice(items, PIECE)):
        yield piece
