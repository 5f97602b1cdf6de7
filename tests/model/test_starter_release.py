"""The starter release is complete, small, and right on a few products."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from shared.inference.releases.novelty import FOREIGN_FROM, Novelty
from tests.support.foreign_products import foreign_products
from trainer.release.loaded import LoadedRelease

FOLDER = Path(__file__).parents[2] / "infra" / "starter_release"


@pytest.fixture(scope="module")
def release() -> LoadedRelease:
    return LoadedRelease.load(FOLDER)


def test_release_is_complete_and_small(release: LoadedRelease) -> None:
    assert len(release.manifest.categories) == 27
    assert release.manifest.figures["text_f1_plain"] >= 0.82
    assert release.manifest.figures["image_f1_plain"] >= 0.50
    assert (FOLDER / "MODEL_CARD.md").stat().st_size > 1000
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 60_000_000


@pytest.mark.parametrize(
    ("designation", "code"),
    [
        ("Piscine hors sol tubulaire ronde 3,66 m avec pompe de filtration", 2583),
        ("Carte Pokémon rare holo Dracaufeu", 1160),
        ("Housse de coussin décorative en lin 45x45 cm taie d'oreiller", 1920),
        ("Couches bébé taille 4, biberon et tétine", 1320),
        ("Collier pour chien en cuir réglable", 2220),
    ],
)
def test_obvious_product_gets_its_category(
    release: LoadedRelease, designation: str, code: int
) -> None:
    row = pd.DataFrame({"designation": [designation], "description": [""]})
    scores = release.score_texts(row)
    assert release.manifest.categories[int(scores[0].argmax())].code == code


def test_most_foreign_products_are_told_from_those_of_the_shop(release: LoadedRelease) -> None:
    novelty = Novelty.load(FOLDER / "fusion")
    assert set(novelty.scales) == {"text", "image", "fusion"}
    rows = pd.DataFrame([vars(one) for one in foreign_products(10)])
    found = novelty.score("text", release.score_texts(rows))
    assert found is not None
    assert (found >= FOREIGN_FROM).mean() > 0.6


def test_images_are_scored(release: LoadedRelease) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 299, 299, 3), dtype=np.uint8)
    assert release.image is not None
    scores = release.image.score(pixels)
    assert scores.shape == (2, 27)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-4)
