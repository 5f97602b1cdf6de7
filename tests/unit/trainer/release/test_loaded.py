from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from shared.contracts import Modality
from shared.errors import ModalityNotInRelease
from tests.support.tiny_release import write_tiny_release
from trainer.release.loaded import IMAGE_BATCH, LoadedRelease, read_images


def test_unreadable_images_are_skipped(tmp_path: Path) -> None:
    # Given more images than a batch, one of them broken
    paths = [tmp_path / f"{i}.png" for i in range(IMAGE_BATCH + 2)]
    for shade, path in enumerate(paths):
        Image.new("RGB", (20, 20), (shade, shade, shade)).save(path)
    paths[1].write_bytes(b"no image")
    # When they are read
    rows = pd.DataFrame({"image": [str(path) for path in paths]})
    found = list(read_images(rows, 32))
    # Then every other image comes once, at its position
    assert [len(positions) for positions, _ in found] == [IMAGE_BATCH, 1]
    pairs = [
        (p, int(x[0, 0, 0]))
        for positions, pixels in found
        for p, x in zip(positions, pixels, strict=True)
    ]
    assert pairs == [(i, i) for i in range(IMAGE_BATCH + 2) if i != 1]


def test_stored_features_score_like_their_image(tmp_path: Path) -> None:
    release = LoadedRelease.load(write_tiny_release(tmp_path / "1", in_two_steps=True))
    assert release.image is not None
    pixels = np.stack([np.full((299, 299, 3), level, np.uint8) for level in (0, 200)])
    features = release.image.features(pixels)
    assert features.dtype == np.float16
    scores = release.image.score(pixels)
    assert scores.argmax(axis=1).tolist() == [0, 1]
    np.testing.assert_array_equal(release.image.score_features(features), scores)


@pytest.mark.parametrize("there", Modality)
def test_release_of_one_modality_loads_only_that_model(tmp_path: Path, there: Modality) -> None:
    release = LoadedRelease.load(write_tiny_release(tmp_path / "1", modalities=[there]))
    rows = pd.DataFrame({"designation": ["piscine"], "description": [""], "image": ["none.png"]})
    assert release.fusion is None
    if there is Modality.TEXT:
        assert release.score_texts(rows).shape == (1, 2)
        with pytest.raises(ModalityNotInRelease, match="no image model"):
            release.score_images(rows)
    else:
        assert release.image is not None
        with pytest.raises(ModalityNotInRelease, match="no text model"):
            release.score_texts(rows)
