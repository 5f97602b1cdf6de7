"""Cache of image features in the storage, shared by all image workers.

    features/<extractor>/<2 hex>/<SHA-256 of the image's file>      little-endian float16, 4 KB

They belong to an extractor, not to a release: a new release with the same extractor knows every
image that the old one saw. The store only ever saves time. When it is slow, full or broken, the
image is computed as if it were new.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import structlog

from shared import metrics
from shared.errors import NotFound, RayonError, Unavailable
from shared.inference.manifest import ImagePart
from shared.inference.releases.image_model import Features
from shared.settings import FeatureSettings
from shared.storage import Storage

log = structlog.get_logger(__name__)

FOLDER = "features"
#: Byte order and type of stored features, on every machine.
STORED = np.dtype("<f2")
#: Limit of features waiting to be written; beyond it, new features are dropped.
MOST_WAITING = 1024
#: After a failed or slower look-up, features are computed without look-ups for a while.
SLOW_SECONDS = 1.0
REST_SECONDS = 15.0
#: Writes between checks of one of the 256 folders. Hashes are spread evenly, so each folder may
#: hold a 256th of the limit, and the whole cache is never listed.
SWEEP_EVERY = 16
SHARES = 256
#: Share of its limit to which a full folder is reduced, oldest files first.
SWEPT_TO = 0.9


class NoFeatures:
    """Null object for a disabled cache."""

    def known(self, part: ImagePart, hashes: Iterable[str]) -> dict[str, Features]:  # noqa: ARG002  # as the real one
        """Return nothing."""
        return {}

    def keep(self, part: ImagePart, features: Mapping[str, Features]) -> None:
        """Discard them."""


class OnlineFeatures:
    """Features by extractor and image hash; one thread writes, message threads read.

    Args:
        storage: Storage shared by all workers.
        settings: Size limit.
    """

    def __init__(self, storage: Storage, settings: FeatureSettings) -> None:
        self._storage = storage
        self._share_bytes = settings.max_megabytes * 2**20 / SHARES
        self._waiting: queue.Queue[tuple[str, Features]] = queue.Queue(MOST_WAITING)
        self._rests_until = 0.0
        threading.Thread(target=self._write_all, name="features", daemon=True).start()

    def known(self, part: ImagePart, hashes: Iterable[str]) -> dict[str, Features]:
        """Look images up; never raises.

        Args:
            part: Names the extractor and the length of its features.
            hashes: SHA-256 of images, in hex.

        Returns:
            Features `(features,)` of those that are known.
        """
        if part.extractor is None:
            return {}
        found: dict[str, Features] = {}
        outcomes: Counter[str] = Counter()
        for digest in hashes:
            outcome, features = self._look_up(part, digest)
            outcomes[outcome] += 1
            if features is not None:
                found[digest] = features
        for outcome, count in outcomes.items():
            metrics.image_features_total.labels(outcome).inc(count)
        return found

    def keep(self, part: ImagePart, features: Mapping[str, Features]) -> None:
        """Queue features for writing; never raises or blocks."""
        if part.extractor is None:
            return
        for digest, row in features.items():
            try:
                self._waiting.put_nowait((address(part.extractor, digest), row))
            except queue.Full:
                metrics.image_features_total.labels("failed").inc()

    def flush(self) -> None:
        """Block until all queued features are written or dropped."""
        self._waiting.join()

    def sweep(self, share: str) -> None:
        """Reduce one of the 256 folders (`00` to `ff`), over all extractors, to its limit."""
        files = [
            file
            for extractor in self._storage.folders(FOLDER)
            for file in self._storage.files(f"{extractor}/{share}")
        ]
        total = sum(file.size for file in files)
        if total <= self._share_bytes:
            return
        for file in sorted(files, key=lambda file: file.modified):
            if total <= self._share_bytes * SWEPT_TO:
                break
            self._storage.remove(file.uri)
            total -= file.size

    def _look_up(self, part: ImagePart, digest: str) -> tuple[str, Features | None]:
        if time.monotonic() < self._rests_until:
            return "failed", None
        started = time.monotonic()
        try:
            content = self._storage.get(address(part.extractor or "", digest))
        except NotFound:
            return "miss", None
        except Unavailable as error:
            self._rest(str(error))
            return "failed", None
        if time.monotonic() - started > SLOW_SECONDS:
            self._rest(f"A look-up took longer than {SLOW_SECONDS} s")
        features = decoded(content, part.features)
        return ("miss" if features is None else "hit"), features

    def _rest(self, reason: str) -> None:
        self._rests_until = time.monotonic() + REST_SECONDS
        log.warning("features_not_read", reason=reason, rest_seconds=REST_SECONDS)

    def _write_all(self) -> None:
        written = 0
        while True:
            uri, features = self._waiting.get()
            try:
                self._storage.put_at(uri, features.astype(STORED).tobytes())
                written += 1
                if written % SWEEP_EVERY == 0:
                    self.sweep(uri.split("/")[-2])
            except RayonError as error:
                metrics.image_features_total.labels("failed").inc()
                log.warning("features_not_kept", error=str(error))
            except Exception:
                metrics.image_features_total.labels("failed").inc()
                log.exception("features_not_kept")
            finally:
                self._waiting.task_done()


def address(extractor: str, digest: str) -> str:
    """Return the storage path of an image's features."""
    return f"{FOLDER}/{extractor}/{digest[:2]}/{digest}"


def decoded(content: bytes, length: int) -> Features | None:
    """Read features `(length,)`; `None` for a truncated or foreign file."""
    if len(content) != length * STORED.itemsize:
        return None
    features: Features = np.frombuffer(content, STORED).astype(np.float16)
    return features if np.isfinite(features).all() else None
