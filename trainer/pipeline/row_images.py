"""The images of some rows, as candidates read them: through networks, once, kept on disk."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import ImageUnreadable, NotFound
from shared.inference.manifest import IMAGE_INPUT
from shared.inference.onnx_session import open_session
from shared.inference.preparation.image import prepare
from shared.inference.releases.image_model import Features
from trainer.datasets.images import read_image
from trainer.release.image_features import FeatureStore, extract_features, extractor_id

#: Images that are decoded ahead while a network works on those before.
CHUNK = 32
#: Images that a network sees at once; Xception on a CPU gains nothing from more than one.
BATCH = 1
#: Maps are written to disk after this many images.
FLUSH_EVERY = 416
DECODERS = 2


@dataclass(frozen=True)
class Maps:
    """Arrays of images on disk, shape `(images, height, width, channels)`.

    Every look opens the file anew: what was looked at before does not stay in memory.
    """

    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all."""
        shape: tuple[int, ...] = np.load(self.path, mmap_mode="r").shape
        return shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: slice | NDArray[np.int64]) -> Features:
        """Read some into memory."""
        return np.array(np.load(self.path, mmap_mode="r")[chosen])


@dataclass(frozen=True)
class RowImages:
    """Images of rows that all can be read; see `readable`.

    Args:
        rows: With a `image` each, a reference for `read_image`.
        store: Folder of the features, one below it for each backbone.
        tell: Called with a line now and then.
    """

    rows: pd.DataFrame
    store: Path
    tell: Callable[[str], None]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: NDArray[np.int64]) -> "RowImages":
        """Some of them."""
        return replace(self, rows=self.rows.iloc[places])

    def features(self, name: str, backbone: Path, size: int) -> Features:
        """What a backbone makes of them, shape `(images, features)`."""
        kept = FeatureStore(self.store / extractor_id(name, backbone))
        found = extract_features(self.rows, backbone, kept, size=size, tell=self.tell)
        return kept.of(found.hashes.tolist())

    def maps(self, trunk: Path, size: int, path: Path) -> Maps:
        """What a part of a network makes of them, on disk."""
        session = open_session(trunk, threads=0)
        done_path = path.with_suffix(".done")
        done = int(done_path.read_text()) if done_path.exists() else 0
        maps = np.lib.format.open_memmap(path, "r+") if done else None
        for start, pixels in self._decoded(size, done):
            found = session.run(None, {IMAGE_INPUT: pixels})[0].astype(np.float16)
            if maps is None:
                shape = (len(self), *found.shape[1:])
                maps = np.lib.format.open_memmap(path, "w+", np.float16, shape)
            maps[start : start + len(found)] = found
            if (start + len(found)) % FLUSH_EVERY == 0:
                maps.flush()
                # What was written does not stay in memory.
                maps = np.lib.format.open_memmap(path, "r+")
                done_path.write_text(str(start + len(found)))
                self.tell(f"{start + len(found)} of {len(self)} images")
        if maps is not None:
            maps.flush()
        return Maps(path)

    def _decoded(self, size: int, start: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        paths = self.rows["image"].tolist()
        with ThreadPoolExecutor(DECODERS) as pool:

            def submit(first: int) -> list[Future[NDArray[np.uint8]]]:
                return [pool.submit(_read, path, size) for path in paths[first : first + CHUNK]]

            ahead = submit(start)
            for first in range(start, len(paths), CHUNK):
                waiting, ahead = ahead, submit(first + CHUNK)
                pixels = np.stack([one.result() for one in waiting])
                for place in range(0, len(pixels), BATCH):
                    yield first + place, pixels[place : place + BATCH]


def readable(rows: pd.DataFrame, size: int) -> NDArray[np.bool_]:
    """Which rows' images can be decoded whole, shape `(rows,)`."""

    def is_readable(path: str) -> bool:
        try:
            _read(path, size)
        except (ImageUnreadable, NotFound):
            return False
        return True

    with ThreadPoolExecutor(DECODERS) as pool:
        return np.array(list(pool.map(is_readable, rows["image"])), dtype=bool)


def _read(path: str, size: int) -> NDArray[np.uint8]:
    return prepare(read_image(path), size)
