"""Test rows of the dataset with their probabilities, unchanged and degraded."""

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from shared.errors import ImageUnreadable, NotFound
from shared.inference.preparation.decoders import prepare
from shared.storage import Storage
from trainer.datasets.folder import Dataset
from trainer.datasets.images import read_image
from trainer.release.loaded import LoadedRelease, release_digest

Floats = NDArray[np.float32]

#: Variants of the products: unchanged, and with cut texts and dark images as in the third month.
UNCHANGED, CUT = "as it is", "cut"
VARIANTS = (UNCHANGED, CUT)
CUT_CHARACTERS = 14
DARK = 0.25


@dataclass(frozen=True)
class Pool:
    """Products to draw from.

    Attributes:
        rows: Test rows of the dataset.
        text: Probabilities of the text model by variant, `(rows, categories)`; NaN without a text.
        image: Probabilities of the image model by variant; NaN without an image.
        uris: URIs of the stored images by variant.
    """

    rows: pd.DataFrame
    text: dict[str, Floats]
    image: dict[str, Floats]
    uris: dict[str, list[str | None]]


def scored_pool(data: Dataset, folder: Path, cache: Path, storage: Storage) -> Pool:
    """Score both variants of the test rows with the release in a folder.

    The scores are cached, so that a second run is quick.
    """
    rows = data.part("test")
    rows = rows[rows["has_text"] | (rows["image"] != "")].reset_index(drop=True)
    uris = {
        variant: [_store_image(storage, image, variant) for image in rows["image"]]
        for variant in VARIANTS
    }
    path = cache / f"{data.fingerprint[:16]}-{release_digest(folder)[:16]}-{CUT_CHARACTERS}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **_score(LoadedRelease.load(folder), rows))
    scores = np.load(path)
    text, image = (
        {variant: scores[f"{modality}-{variant}"] for variant in VARIANTS}
        for modality in ("t", "i")
    )
    return Pool(rows, text, image, uris)


def _store_image(storage: Storage, image: str, variant: str) -> str | None:
    if not image:
        return None
    content = read_image(image)
    if variant == CUT:
        with Image.open(io.BytesIO(content)) as opened:
            dark = opened.convert("RGB").point(lambda value: int(value * DARK))
        file = io.BytesIO()
        dark.save(file, "JPEG")
        content = file.getvalue()
    return storage.put("images", content)


def _score(release: LoadedRelease, rows: pd.DataFrame) -> dict[str, Floats]:
    texts = {f"t-{variant}": _score_texts(release, rows, variant) for variant in VARIANTS}
    return texts | {f"i-{variant}": _score_images(release, rows, variant) for variant in VARIANTS}


def _score_texts(release: LoadedRelease, rows: pd.DataFrame, variant: str) -> Floats:
    scores = _no_scores(release, rows)
    has_text = rows["has_text"].to_numpy(bool)
    chosen = rows[has_text]
    if variant == CUT:
        titles = chosen["designation"].str[:CUT_CHARACTERS]
        chosen = chosen.assign(designation=titles, description="")
    scores[has_text] = release.score_texts(chosen)
    return scores


def _score_images(release: LoadedRelease, rows: pd.DataFrame, variant: str) -> Floats:
    scores = _no_scores(release, rows)
    assert release.image is not None
    for row, image in enumerate(rows["image"]):
        if not image:
            continue
        with suppress(ImageUnreadable, NotFound):
            pixels = prepare(read_image(image), release.manifest.image_part.size)
            if variant == CUT:
                pixels = (pixels * DARK).astype(np.uint8)
            scores[row] = release.image.score(pixels[None])[0]
    return scores


def _no_scores(release: LoadedRelease, rows: pd.DataFrame) -> Floats:
    return np.full((len(rows), len(release.manifest.categories)), np.nan, np.float32)
