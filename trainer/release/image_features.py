"""Image features of frozen networks, each computed once and kept on disk.

ONNX Runtime computes them: it is half as fast again as TensorFlow on a CPU, and it also serves.
The store is a folder of Parquet files, keyed by the SHA-256 of an image's file:

    features/<extractor>/part-*.parquet            `hash` and `features`
    features/<extractor>/unreadable-2-*.parquet    `hash` of files that are not images

Earlier versions read grey images of 16 bits as white, and fewer formats. So the first have
another key now, and what was unreadable then, in `unreadable-<hex>.parquet`, is tried again.
"""

import hashlib
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import structlog
from numpy.typing import NDArray

from shared.errors import ImageUnreadable, InvalidInput, NotFound
from shared.files import atomic_write
from shared.inference.onnx_session import open_fastest
from shared.inference.preparation.decoders import prepare
from shared.inference.preparation.greys import may_be_wide
from shared.inference.preparation.image import IMAGE_PREPARATION
from shared.inference.releases.image_model import Features, Pixels, halved
from shared.skipping import skipping
from trainer.datasets.images import read_image

log = structlog.get_logger(__name__)

#: Number of images after which features are written to disk; limits the loss at an interruption.
SAVE_EVERY = 400
#: Interval of the lines that report how many images are done; `trainer/runs/step_progress.py` and
#: people read them.
LOG_SECONDS = 5.0
#: Number of images that are read and decoded ahead of the network; 270 KB each.
READ_AHEAD = 32
DECODERS = 2
_UNREADABLE = "unreadable-2"
#: Number of images in one call; Xception on a CPU is slower in larger batches.
IMAGE_BATCH = 1


def extractor_id(name: str, backbone: Path) -> str:
    """Return a name for a backbone and its preparation: equal names mean equal features.

    Returns:
        A name such as `xception-image-1-0f3a1c9e77d2`.
    """
    with backbone.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{name}-{IMAGE_PREPARATION}-{digest[:12]}"


def image_key(content: bytes) -> str:
    """Return the key of an image's features: the SHA-256 of its file."""
    digest = hashlib.sha256(content)
    if may_be_wide(content):
        digest.update(b"wide grey")
    return digest.hexdigest()


class FeatureStore:
    """Features by the `image_key` of the file.

    Only the hashes are in memory; features are read from disk on demand. Parts are written under a
    temporary name and renamed, so a killed process leaves no partial part; an unreadable part is
    skipped, and its images count as unknown.

    Args:
        folder: Folder of one extractor, named by its `extractor_id`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[Path] = []
        self._places: dict[str, tuple[int, int]] = {}
        for path in sorted(folder.glob("part-*.parquet")):
            self._note(path, _hashes(path))
        self._unreadable = {
            one for path in folder.glob(f"{_UNREADABLE}-*.parquet") for one in _hashes(path)
        }

    def __contains__(self, image_hash: str) -> bool:
        """Return True if the image has features."""
        return image_hash in self._places

    def __len__(self) -> int:
        """Return the number of images with features."""
        return len(self._places)

    @property
    def unreadable(self) -> frozenset[str]:
        """Hashes of the files that are not images."""
        return frozenset(self._unreadable)

    def is_known(self, image_hash: str) -> bool:
        """Return True if the image has features or is known to be unreadable."""
        return image_hash in self._places or image_hash in self._unreadable

    def add(self, features: Mapping[str, Features], unreadable: Iterable[str] = ()) -> None:
        """Store features `(features,)` by hash, and the hashes of files that are not images.

        Raises:
            OSError: The disk is full; earlier features are unchanged.
        """
        if broken := [*unreadable]:
            self._write(_UNREADABLE, pa.table({"hash": broken}))
            self._unreadable.update(broken)
        if features:
            self._note(self._write("part", _table(features)), [*features])

    def of(self, hashes: Sequence[str]) -> Features:
        """Return the features of known images, shape `(images, features)`, without a second copy.

        Raises:
            KeyError: An image has no features.
        """
        wanted: dict[int, list[tuple[int, int]]] = {}
        for position, one in enumerate(hashes):
            part, row = self._places[one]
            wanted.setdefault(part, []).append((position, row))
        found: Features | None = None
        for part, places in wanted.items():
            rows = _rows(pq.read_table(self._parts[part], memory_map=True))
            if found is None:
                found = np.empty((len(hashes), rows.shape[1]), np.float16)
            positions, chosen = np.array(places).T
            found[positions] = rows[chosen]
        return np.empty((0, 0), np.float16) if found is None else found

    def items(self) -> Iterator[tuple[str, Features]]:
        """Iterate over hashes and features with one part in memory at a time."""
        for path in self._parts:
            table = pq.read_table(path, memory_map=True)
            yield from zip(table["hash"].to_pylist(), _rows(table), strict=True)

    def _note(self, path: Path, hashes: Sequence[str]) -> None:
        part = len(self._parts)
        self._parts.append(path)
        self._places |= {one: (part, row) for row, one in enumerate(hashes)}

    def _write(self, kind: str, table: pa.Table) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{kind}-{uuid.uuid4().hex}.parquet"
        with atomic_write(path, is_durable=True) as temporary:
            # Features do not compress, and no two are equal.
            pq.write_table(table, temporary, compression="none", use_dictionary=False)
        return path


@dataclass(frozen=True)
class Extraction:
    """Outcome of extracting features for some rows.

    Attributes:
        hashes: Hash of each image that has features, by row.
        unreadable: Rows whose file is not an image.
        missing: Rows whose file does not exist.
        computed: Number of images that the network computed.
    """

    hashes: pd.Series
    unreadable: pd.Index
    missing: pd.Index
    computed: int


@dataclass(frozen=True)
class _Read:
    """An image file: its hash if it exists, and its pixels if they are needed and readable."""

    hash: str | None = None
    pixels: Pixels | None = None


def extract_features(
    rows: pd.DataFrame,
    backbone: Path,
    store: FeatureStore,
    *,
    size: int,
    log_line: Callable[[str], None],
) -> Extraction:
    """Compute the missing features, and store them.

    Files are read, hashed and decoded ahead of the network, so that it never waits.

    Args:
        rows: Products with an `image` each, a reference for `read_image`.
        backbone: Network from `images` to `features`.
        store: Store of that backbone.
        size: Side of the images, in pixels.
        log_line: Called with a progress line from time to time.
    """
    network = _Network(backbone, store)
    hashes: list[str | None] = []

    def read(path: str) -> _Read:
        return _read(path, store, size)

    logged_at = time.monotonic()
    for number, found in enumerate(_ahead(read, rows["image"]), start=1):
        hashes.append(found.hash)
        if found.hash is not None and not network.is_known(found.hash):
            network.take(found.hash, found.pixels)
        if time.monotonic() >= logged_at + LOG_SECONDS:
            logged_at = time.monotonic()
            log_line(f"{number} of {len(rows)} images, {network.computed} computed")
    network.finish()
    extraction = _extraction(rows, hashes, store, network.computed)
    log_line(
        f"{len(extraction.hashes)} images with features, {extraction.computed} of them new; "
        f"{len(extraction.unreadable)} unreadable, {len(extraction.missing)} missing"
    )
    return extraction


class _Network:
    """Computes images in batches, and stores the features from time to time."""

    def __init__(self, backbone: Path, store: FeatureStore) -> None:
        self._backbone = backbone
        self._store = store
        self._run: Callable[[NDArray[np.uint8]], Features] | None = None
        self._waiting: dict[str, Pixels] = {}
        self._fresh: dict[str, Features] = {}
        self._unreadable: set[str] = set()
        self.computed = 0

    def is_known(self, one: str) -> bool:
        return (
            self._store.is_known(one)
            or one in self._waiting
            or one in self._fresh
            or one in self._unreadable
        )

    def take(self, one: str, pixels: Pixels | None) -> None:
        if pixels is None:
            self._unreadable.add(one)
            return
        self._waiting[one] = pixels
        if len(self._waiting) == IMAGE_BATCH:
            self._compute()
        if len(self._fresh) >= SAVE_EVERY:
            self._keep()

    def finish(self) -> None:
        if self._waiting:
            self._compute()
        self._keep()

    def _compute(self) -> None:
        if self._run is None:
            # Opened late: a run in which all images are known loads no network.
            self._run = _open(self._backbone)
        features = self._run(np.stack([*self._waiting.values()]))
        self._fresh.update(zip(self._waiting, features, strict=True))
        self.computed += len(self._waiting)
        self._waiting = {}

    def _keep(self) -> None:
        self._store.add(self._fresh, self._unreadable)
        self._fresh, self._unreadable = {}, set()


def _open(backbone: Path) -> Callable[[NDArray[np.uint8]], Features]:
    session = open_fastest(backbone, threads=_threads())
    model_input = session.get_inputs()[0]
    kind = np.uint8 if model_input.type == "tensor(uint8)" else np.float32

    def run(pixels: NDArray[np.uint8]) -> Features:
        return halved(session.run(None, {model_input.name: pixels.astype(kind, copy=False)})[0])

    return run


def _threads() -> int:
    """Return the threads that OpenMP is limited to, which the trainer sets, or all cores."""
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(limit) if limit.isdecimal() and int(limit) else os.cpu_count() or 1


def _ahead(read: Callable[[str], _Read], paths: Iterable[str]) -> Iterator[_Read]:
    """Read files in order, some ahead of the consumer."""
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as threads:
        running: deque[Future[_Read]] = deque()
        for path in paths:
            running.append(threads.submit(read, path))
            if len(running) >= READ_AHEAD:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _read(path: str, store: FeatureStore, size: int) -> _Read:
    found = _Read()
    with skipping("features", path), suppress(ImageUnreadable, NotFound):
        content = read_image(path)
        found = _Read(image_key(content))
        if not store.is_known(image_key(content)):
            found = _Read(found.hash, prepare(content, size))
    return found


def _extraction(
    rows: pd.DataFrame, hashes: list[str | None], store: FeatureStore, computed: int
) -> Extraction:
    found = pd.Series(hashes, index=rows.index, dtype=object)
    has_features = np.array([one is not None and one in store for one in hashes], bool)
    is_missing = np.array([one is None for one in hashes], bool)
    return Extraction(
        hashes=found[has_features],
        unreadable=rows.index[~has_features & ~is_missing],
        missing=rows.index[is_missing],
        computed=computed,
    )


def _hashes(path: Path) -> list[str]:
    """Return the hashes in a file; none if it cannot be read."""
    try:
        found: list[str] = pq.read_table(path, columns=["hash"])["hash"].to_pylist()
    except (OSError, pa.ArrowException) as error:
        log.warning("feature_part_unreadable", part=path.name, error=str(error))
        return []
    return found


def _table(features: Mapping[str, Features]) -> pa.Table:
    lengths = {len(row) for row in features.values()}
    if len(lengths) != 1:
        raise InvalidInput(f"Expected features of one length. Received: {sorted(lengths)}")
    values = pa.array(np.concatenate([*features.values()]))
    column = pa.FixedSizeListArray.from_arrays(values, lengths.pop())
    return pa.table({"hash": [*features], "features": column})


def _rows(table: pa.Table) -> Features:
    """Return the features of a table, shape `(images, features)`."""
    column = table["features"].combine_chunks()
    flat: Features = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size)
