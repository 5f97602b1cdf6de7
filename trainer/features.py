"""Picture features from the frozen network, each computed once and kept on disk.

They are computed by ONNX Runtime: half as fast again as TensorFlow on a CPU, and what will serve.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from numpy.typing import NDArray

from trainer.package import read_pictures

#: Features are written to disk after this many pictures, so little is lost when a run is stopped.
SAVE_EVERY = 400

Floats = NDArray[np.float32]


def extractor_id(name: str, backbone: Path) -> str:
    """Name a backbone by its content, such as `xception-0f3a…`: equal names, equal features."""
    with backbone.open("rb") as file:
        return f"{name}-{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"


class FeatureCache:
    """Features by the SHA-256 of the picture file.

    Args:
        folder: Belongs to one extractor: its name and version are part of the path.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, NDArray[np.float16]] = {}
        for part in sorted(folder.glob("*.npz")):
            with np.load(part) as stored:
                self._known.update(zip(stored["hashes"].tolist(), stored["features"], strict=True))

    def __contains__(self, picture_hash: str) -> bool:
        return picture_hash in self._known

    def add(self, features: dict[str, NDArray[np.float16]]) -> None:
        """Keep some features, in memory and on disk."""
        if not features:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{next(iter(features))[:16]}.npz"
        np.savez(path, hashes=np.array([*features]), features=np.stack([*features.values()]))
        self._known.update(features)

    def of(self, hashes: list[str]) -> Floats:
        """Features of known pictures, shape `(pictures, features)`."""
        return np.stack([self._known[one] for one in hashes]).astype(np.float32)


def extract_features(
    rows: pd.DataFrame,
    backbone: Path,
    cache: FeatureCache,
    *,
    size: int,
    tell: Callable[[str], None],
) -> pd.Series:
    """Compute the features that are missing.

    Returns:
        Hash of each picture, by row; rows whose picture cannot be read are left out.
    """
    hashes = pd.Series(
        [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in rows["picture"]],
        index=rows.index,
        dtype=object,
    )
    missing = rows[[one not in cache for one in hashes]]
    tell(f"{len(rows)} pictures, {len(missing)} without features yet")
    if len(missing):
        _extract(missing, hashes.loc[missing.index].tolist(), backbone, cache, size, tell)
    return hashes[[one in cache for one in hashes]]


def _extract(
    rows: pd.DataFrame,
    hashes: list[str],
    backbone: Path,
    cache: FeatureCache,
    size: int,
    tell: Callable[[str], None],
) -> None:
    session = onnxruntime.InferenceSession(str(backbone), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    fresh: dict[str, NDArray[np.float16]] = {}
    for positions, pixels in read_pictures(rows, size):
        found = session.run(None, {name: pixels.astype(np.float32)})[0].astype(np.float16)
        fresh.update({hashes[i]: row for i, row in zip(positions, found, strict=True)})
        if len(fresh) >= SAVE_EVERY:
            cache.add(fresh)
            fresh = {}
            tell(f"{positions[-1] + 1} of {len(rows)} pictures")
    cache.add(fresh)
