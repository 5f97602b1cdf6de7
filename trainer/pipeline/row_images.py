"""Images of some rows, as candidates read them: network outputs, computed once and kept on disk."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import ImageUnreadable, NotFound
from shared.inference.manifest import IMAGE_INPUT
from shared.inference.onnx_session import open_session
from shared.inference.preparation.decoders import prepare
from shared.inference.releases.image_model import Features
from shared.skipping import skipping
from trainer.datasets.images import read_image
from trainer.release.image_features import FeatureStore, extract_features, extractor_id

#: Images that are decoded ahead of the network.
CHUNK = 32
#: Images in one call of a network; Xception on a CPU gains nothing from more than one.
BATCH = 1
#: Number of images after which maps are flushed to disk.
FLUSH_EVERY = 416
DECODERS = 2


@dataclass(frozen=True)
class Maps:
    """Feature maps of images on disk, shape `(images, height, width, channels)`.

    Every read maps the file anew, so that pages read before do not stay in memory.
    """

    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all maps."""
        shape: tuple[int, ...] = np.load(self.path, mmap_mode="r").shape
        return shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: slice | NDArray[np.int64]) -> Features:
        """Read some maps into memory."""
        return np.array(np.load(self.path, mmap_mode="r")[chosen])


@dataclass(frozen=True)
class RowImages:
    """Images of rows, all of them readable; see `readable`.

    Args:
        rows: Products with an `image` each, a reference for `read_image`.
        store: Folder of the features, one folder below it for each backbone.
        log_line: Called with a progress line from time to time.
    """

    rows: pd.DataFrame
    store: Path
    log_line: Callable[[str], None]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: NDArray[np.int64]) -> "RowImages":
        """Return the images at some positions."""
        return replace(self, rows=self.rows.iloc[places])

    def pixels(self, size: int, most: int) -> NDArray[np.uint8]:
        """Decode some images, spread over all, shape `(at most most, size, size, 3)`."""
        return self.decoded(np.unique(np.linspace(0, len(self) - 1, most).astype(np.int64)), size)

    def decoded(self, places: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """Decode the images at some positions, shape `(places, size, size, 3)`."""
        return np.stack([_read(one, size) for one in self.rows["image"].iloc[places]])

    def features(self, name: str, backbone: Path, size: int) -> Features:
        """Return the features of a backbone, shape `(images, features)`."""
        kept = FeatureStore(self.store / extractor_id(name, backbone))
        found = extract_features(self.rows, backbone, kept, size=size, log_line=self.log_line)
        return kept.of(found.hashes.tolist())

    def maps(self, trunk: Path, size: int, path: Path) -> Maps:
        """Compute the outputs of a part of a network, on disk; continues after an interruption."""
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
                # Mapping the file anew releases the pages that were written.
                maps = np.lib.format.open_memmap(path, "r+")
                done_path.write_text(str(start + len(found)))
                self.log_line(f"{start + len(found)} of {len(self)} images")
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
    """Return a mask of the rows whose image decodes completely, shape `(rows,)`."""

    def is_readable(path: str) -> bool:
        with skipping("training", path), suppress(ImageUnreadable, NotFound):
            _read(path, size)
            return True
        return False

    with ThreadPoolExecutor(DECODERS) as pool:
        return np.array(list(pool.map(is_readable, rows["image"])), dtype=bool)


def _read(path: str, size: int) -> NDArray[np.uint8]:
    return prepare(read_image(path), size)
